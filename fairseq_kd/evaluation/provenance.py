"""Finds the training data, the vocabulary and the class names of a checkpoint, for export."""

import os
from pathlib import Path
from typing import Optional

from ..data.metadata import Metadata, class_names, dictionary_hash, load_dictionary, read_metadata
from ..errors import CannotStart
from ..models.checkpoint import Checkpoint
from ..models.label_order import order_error, reorder_labels
from .loaded_model import check_task, find_data, first_stage


def find_training_data(given: Optional[Path], checkpoint: Checkpoint) -> Optional[Path]:
    """Return the data of --data, else the checkpoint's training data if it still exists, else None."""
    if given is not None:
        return find_data(given, checkpoint)
    own = (checkpoint.run.get("task") or {}).get("data")
    # Also False without permission to read the folder.
    return Path(own) if own and os.path.isfile(Path(own, "input0", "dict.txt")) else None


def find_dictionary(data: Optional[Path], checkpoint: Checkpoint) -> Path:
    """Return the model's dict.txt, in its data or next to it. Raises CannotStart if it is missing or differs."""
    path = checkpoint.path.parent / "dict.txt" if data is None else data / "input0" / "dict.txt"
    if not path.is_file():
        raise CannotStart(
            f"--checkpoint {checkpoint.path} has no dict.txt next to it: give --data, binarized data for this model.",
            doing="export",
        )
    known = dictionary_hash(path)  # raises CannotStart for an invalid file
    dictionary = load_dictionary(path)
    if len(dictionary) != checkpoint.words or checkpoint.dictionary_hash not in (None, known):
        raise CannotStart(
            f"{path} and --checkpoint {checkpoint.path} have different vocabularies: give data that was made for this "
            "model (--data).",
            doing="export",
        )
    return path


def trained_head(checkpoint: Checkpoint) -> Optional[str]:
    """Return the name of the checkpoint's classification head; None without one, or if it is untrained (first stage)."""
    name = checkpoint.head_name
    return None if checkpoint.classes(name) is None or first_stage(checkpoint) else name


def class_labels(checkpoint: Checkpoint, head: str, data: Optional[Path]) -> tuple[str, ...]:
    """Return the class names of the head in the order of its logits; () for regression, or if they are unknown.

    A checkpoint without names gets the names of `data`, in that order. Raises CannotStart if this is another task's data.
    """
    classes = checkpoint.classes(head)
    if len(checkpoint.class_names) == classes:
        return checkpoint.class_names
    metadata = None if data is None else read_metadata(data)
    if metadata is not None:
        check_task(checkpoint, metadata.task, data)
    labels = () if data is None or classes == 1 else class_names(data)
    if labels and len(labels) != classes:
        raise CannotStart(
            f"--checkpoint {checkpoint.path} has {classes} classes, but {data} has {len(labels)}: give the data it "
            "was fine-tuned on (--data).",
            doing="export",
        )
    return labels


def score_scale(checkpoint: Checkpoint, metadata: Optional[Metadata]) -> float:
    """Return the factor from a model's output to the score of its task: from its checkpoint, else from its data, else 1."""
    saved = checkpoint.config.get("score_scale")
    return saved or (1.0 if metadata is None else metadata.score_scale)


def in_order_of_data(checkpoint: Checkpoint, data: Optional[Path]) -> Checkpoint:
    """Return the checkpoint with its classes in the order and with the names of `data`.

    data  folder of binarized data; None keeps the order of the checkpoint

    A checkpoint without class names, or with another number of classes, is unchanged. Raises CannotStart if the names
    cannot be matched.
    """
    head = trained_head(checkpoint)
    if head is None or data is None:
        return checkpoint
    order = (class_names(data), checkpoint, head, "--checkpoint")
    error = order_error(*order)
    if error is not None:
        raise CannotStart(error, doing="export")
    return reorder_labels(*order)
