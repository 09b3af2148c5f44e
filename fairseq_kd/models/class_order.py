"""A converted classifier's classes, brought into the order that the data numbers them in."""

import logging
import re
from collections.abc import Sequence
from dataclasses import replace

from .checkpoint import Checkpoint

logger = logging.getLogger(__name__)


def in_order_of(labels: Sequence[str], checkpoint: Checkpoint, head: str, flag: str) -> Checkpoint:
    """The checkpoint whose head called `head` numbers its classes as the data does, told by their names.

    labels  the data's classes in the order of their numbers; () where they have no names, as in a regression
    flag    which names the checkpoint, for the log

    Capitals, hyphens, underscores and spaces make no difference, and LABEL_0, which is what Hugging Face calls a
    class without a name, is also 0. Where the names are others, the classes are taken as they stand, and a warning
    says so. Models trained here have no names, and the data's order.
    """
    names = checkpoint.class_names
    if not names or len(names) != len(labels):
        return checkpoint

    ours, theirs = ([_plain(name) for name in side] for side in (labels, names))
    if ours == theirs:
        return checkpoint
    if set(ours) != set(theirs) or len(set(ours)) < len(ours):
        logger.warning(
            f"{flag} {checkpoint.path} calls its classes {', '.join(names)}, the data {', '.join(labels)}: they are "
            "taken for one another in this order."
        )
        return checkpoint

    logger.info(
        f"{flag} {checkpoint.path} has the classes {', '.join(names)}: they are put in the order of the data's, "
        f"{', '.join(labels)}."
    )
    rows = [theirs.index(name) for name in ours]
    projection = f"classification_heads.{head}.out_proj."
    reordered = {
        name: value[rows] for name, value in checkpoint.weights.items() if name.startswith(projection)
    }
    task = {**checkpoint.run["task"], "labels": [names[row] for row in rows]}
    return replace(
        checkpoint, weights={**checkpoint.weights, **reordered}, run={**checkpoint.run, "task": task}
    )


def _plain(name: str) -> str:
    return re.sub(r"^label(?=\d+$)", "", re.sub(r"[-_ ]", "", name.casefold()))
