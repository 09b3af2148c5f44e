"""Reorders the classes of a checkpoint to the order of the data's class numbers, by their names."""

import logging
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Optional

from ..errors import CannotStart
from .checkpoint import Checkpoint

logger = logging.getLogger(__name__)

# Class names in Hugging Face's GLUE -> names in GLUE's original files.
GLUE_NUMBERS = {"unacceptable": "0", "negative": "0", "notequivalent": "0", "notduplicate": "0"}
GLUE_NUMBERS |= {"acceptable": "1", "positive": "1", "equivalent": "1", "duplicate": "1"}


def reorder_labels(labels: Sequence[str], checkpoint: Checkpoint, head: str, flag: str) -> Checkpoint:
    """Return the checkpoint with the classes of `head` in the order and with the names of `labels`.

    labels  class names of the data, in the order of their numbers; () for regression, or if unknown
    flag    flag of the checkpoint, for the log

    Case, hyphens, underscores and spaces are ignored. LABEL_0, Hugging Face's placeholder, equals 0. The checkpoint is
    unchanged if checkpoint or data has no names, or if names cannot be matched (see `order_error`).
    """
    names = _names(labels, checkpoint, head)
    rows = _rows(labels, names)
    if rows is None or names == tuple(labels):
        return checkpoint

    renamed = replace(checkpoint, class_names=tuple(labels))
    if rows == sorted(rows):
        return renamed
    logger.info(
        f"{flag} {checkpoint.path} has the classes {', '.join(names)}: reordered to {', '.join(labels)}, as in the data."
    )
    projection = f"classification_heads.{head}.out_proj."
    reordered = {
        name: value[rows] for name, value in checkpoint.weights.items() if name.startswith(projection)
    }
    return replace(renamed, weights={**checkpoint.weights, **reordered})


def logit_columns(labels: Sequence[str], checkpoint: Checkpoint, head: str) -> list[int]:
    """Return for each class of the data the column of its logit; arguments as for `reorder_labels`."""
    return _rows(labels, _names(labels, checkpoint, head)) or list(range(checkpoint.classes(head)))


def order_error(labels: Sequence[str], checkpoint: Checkpoint, head: str, flag: str) -> Optional[str]:
    """Return an error message if the checkpoint's class names cannot be matched with `labels`; otherwise None.

    Also returns None if the numbers of classes differ, or if checkpoint or data has no names (see `order_warning`).
    """
    names = _names(labels, checkpoint, head)
    if not names or _rows(labels, names) is not None:
        return None
    return (
        f"{flag} {checkpoint.path}{_task_of(checkpoint)} has the classes {', '.join(names)}, but the data has "
        f"{', '.join(labels)}: give a model of the same task, or give this one the data's names in the order of its logits "
        f"({_remedy(checkpoint)})."
    )


def _task_of(checkpoint: Checkpoint) -> str:
    task = checkpoint.config.get("fine_tuned_on")
    return f", fine-tuned on {task}," if task else ""


def order_warning(labels: Sequence[str], checkpoint: Checkpoint, head: str, flag: str) -> Optional[str]:
    """Return a warning if the checkpoint does not name the classes of `head`, so that their order is unknown."""
    if not labels or checkpoint.classes(head) != len(labels) or _names(labels, checkpoint, head):
        return None
    return (
        f"{flag} {checkpoint.path} has no class names, and its training data is missing: assuming the order "
        f"{', '.join(labels)} of the data. Results are wrong if the order differs; if so, add the class names "
        f"({_remedy(checkpoint)})."
    )


def same_order(labels: Sequence[str], names: Sequence[str]) -> bool:
    """Return whether both have the same classes in the same order; names may differ as in `reorder_labels`."""
    return list(labels) == list(names) or _rows(labels, names) == list(range(len(labels)))


def check_names(names: Sequence[str], classes: int, given: str) -> None:
    """Raise CannotStart unless `--class-names` has one name per class of the model `given`."""
    if len(names) != classes:
        raise CannotStart(
            f"--class-names {','.join(names)} has {len(names)} different names, but {given} has {classes} classes: give "
            "one name per class, in the order of the logits."
        )


def is_placeholder(name: str) -> bool:
    """Return whether this is Hugging Face's placeholder for a class name: LABEL_0, ..."""
    return re.fullmatch(r"LABEL_\d+", name) is not None


def _remedy(checkpoint: Checkpoint) -> str:
    return f"python scripts/name_classes.py --checkpoint {checkpoint.path} --class-names NAME,NAME,.."


def _names(labels: Sequence[str], checkpoint: Checkpoint, head: str) -> tuple[str, ...]:
    """Return the class names of the head; () if they are unknown, or if their number differs from `labels`."""
    fits = len(labels) == checkpoint.classes(head) == len(checkpoint.class_names)
    return checkpoint.class_names if fits and head == checkpoint.head_name else ()


def _rows(labels: Sequence[str], names: Sequence[str]) -> Optional[list[int]]:
    """Return the index in `names` of each label; None if the names differ."""
    if labels and len(set(labels)) == len(labels) and sorted(labels) == sorted(names):
        return [list(names).index(name) for name in labels]
    ours, theirs = ([_plain(name) for name in side] for side in (labels, names))
    if {"0", "1"} in (set(ours), set(theirs)):
        ours, theirs = ([GLUE_NUMBERS.get(name, name) for name in side] for side in (ours, theirs))
    if not ours or len(set(ours)) < len(ours) or sorted(ours) != sorted(theirs):
        return None
    return [theirs.index(name) for name in ours]


def _plain(name: str) -> str:
    without = re.sub(r"(?!^-\d)[-_ ]", "", name.casefold())  # a minus sign stays
    return re.sub(r"^label(?=\d+$)", "", without)
