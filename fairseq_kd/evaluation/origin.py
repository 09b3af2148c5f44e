"""What a model that is exported was trained on: its data, and through them its vocabulary and its classes."""

import os
from pathlib import Path
from typing import Optional

from fairseq.data import Dictionary

from ..data.metadata import class_names, dictionary_hash, read_metadata
from ..errors import CannotStart
from ..models.checkpoint import Checkpoint
from ..models.class_order import in_order_of, order_problem
from .finished import check_task, find_data, first_stage


def find_training_data(given: Optional[Path], checkpoint: Checkpoint) -> Optional[Path]:
    """The data named by --data or, without it, that of the checkpoint's own training where it is still there."""
    if given is not None:
        return find_data(given, checkpoint)
    own = (checkpoint.run.get("task") or {}).get("data")
    # False, too, where that folder may not be read.
    return Path(own) if own and os.path.isfile(Path(own, "input0", "dict.txt")) else None


def find_dictionary(data: Optional[Path], checkpoint: Checkpoint) -> Path:
    """The model's dict.txt: that of its data, or the one beside it."""
    path = checkpoint.path.parent / "dict.txt" if data is None else data / "input0" / "dict.txt"
    if not path.is_file():
        raise CannotStart(
            f"--checkpoint {checkpoint.path} has no dict.txt beside it: give --data, binarized data for this model.",
            doing="export",
        )
    known = dictionary_hash(path)  # refuses what is no dictionary
    dictionary = Dictionary.load(str(path))
    dictionary.add_symbol("<mask>")
    if len(dictionary) != checkpoint.words or checkpoint.dictionary_hash not in (None, known):
        raise CannotStart(
            f"{path} is another vocabulary than that of --checkpoint {checkpoint.path}: give data that was made for this "
            "model (--data).",
            doing="export",
        )
    return path


def trained_head(checkpoint: Checkpoint) -> Optional[str]:
    """The name of the checkpoint's classification head; None where it has none, or a first stage's, which is untrained."""
    name = checkpoint.head_name
    return None if checkpoint.classes(name) is None or first_stage(checkpoint) else name


def class_labels(checkpoint: Checkpoint, head: str, data: Optional[Path]) -> tuple[str, ...]:
    """Return the names of the head's classes in the order of its logits; () for a regression, or if they are unknown.

    A checkpoint without names has those, and the order, of `data`. Raises CannotStart if that is data of another task.
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
            f"--checkpoint {checkpoint.path} tells {classes} classes apart, but {data} has {len(labels)}: give the data it "
            "was fine-tuned on (--data).",
            doing="export",
        )
    return labels


def in_order_of_data(checkpoint: Checkpoint, data: Optional[Path]) -> Checkpoint:
    """Return the checkpoint with its classes in the order, and under the names, of `data`.

    data  folder of binarized data; None keeps the order of the checkpoint

    A checkpoint without class names, or with another number of classes, keeps its order. Raises CannotStart if
    the names cannot be matched.
    """
    head = trained_head(checkpoint)
    if head is None or data is None:
        return checkpoint
    order = (class_names(data), checkpoint, head, "--checkpoint")
    problem = order_problem(*order)
    if problem is not None:
        raise CannotStart(problem, doing="export")
    return in_order_of(*order)


def problems_of_out(out: Path) -> list[str]:
    """Why nothing can be exported to the folder `--out`: a sentence, none where it is new or empty."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        return [f"--out {out} is there already and not empty: name a new folder."]
    return []
