"""Checks that a model fits the data of a task: vocabulary, pair format and order of classes."""

import logging
from dataclasses import dataclass
from typing import Optional

from fairseq.data import Dictionary

from ..errors import CannotStart
from .checkpoint import Checkpoint
from .label_order import order_error, order_warning, reorder_labels, same_order

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class DataRequirements:
    """The properties of a task's data that its student and its teacher must share.

    path             `--data`, for error messages
    dictionary       the vocabulary
    dictionary_hash  identifies the vocabulary, see `data/metadata.py`
    pair_format      separators between two sentences: roberta or bert
    length           maximum tokens of an example; None if the data does not record it
    pairs            whether examples are pairs of sentences
    name             of the task, such as MNLI; None for running text
    head             name of the classification head; None for masked words
    classes          number of classes, 1 for regression; None for masked words
    class_names      in the order of the class numbers; () without classes or names
    """

    path: str
    dictionary: Dictionary
    dictionary_hash: str
    pair_format: str
    length: Optional[int] = None
    pairs: bool = False
    name: Optional[str] = None
    head: Optional[str] = None
    classes: Optional[int] = None
    class_names: tuple[str, ...] = ()

    def check_vocabulary(self, checkpoint: Checkpoint, flag: str) -> None:
        """Raise CannotStart if the checkpoint has another vocabulary than the data."""
        if checkpoint.words != len(self.dictionary):
            raise CannotStart(
                f"{flag} {checkpoint.path} has {checkpoint.words} words, but the data in {self.path} has "
                f"{len(self.dictionary)}: make the data again with this model's vocabulary (--encoder-dir)."
            )
        if checkpoint.dictionary_hash not in (None, self.dictionary_hash):
            raise CannotStart(
                f"{flag} {checkpoint.path} and the data in {self.path} number words differently (their dict.txt differ): "
                "make the data again with this model's vocabulary (--encoder-dir)."
            )

    def check_pair_format(self, pair_format: Optional[str]) -> None:
        """Raise CannotStart if a model with this pair format would see other separators than it was trained with."""
        if self.pairs and pair_format not in (None, self.pair_format):
            raise CannotStart(
                f"the data in {self.path} has pairs in the format {self.pair_format}, but the model needs {pair_format}: "
                "make the data again with this model's vocabulary (--encoder-dir)."
            )

    def check_order_of_model(self, names: tuple[str, ...]) -> None:
        """Raise CannotStart if the class names of a model that is already loaded are in another order."""
        if len(names) == len(self.class_names) and not same_order(self.class_names, names):
            raise CannotStart(
                f"the model has the classes {', '.join(names)} in this order, but {self.path} has "
                f"{', '.join(self.class_names)}: use scripts/evaluate.py, which reorders them."
            )

    def check_order_of_run(self, checkpoint: Checkpoint, flag: str) -> None:
        """Raise CannotStart if the run to resume was trained on data with another order of classes."""
        names = checkpoint.class_names
        if names and len(names) == len(self.class_names) and names != self.class_names:
            raise CannotStart(
                f"the run of {flag} {checkpoint.path} was started with the classes {', '.join(names)} in this order, but "
                f"{self.path} has {', '.join(self.class_names)}: give data with the order of that run."
            )

    def order_error(self, checkpoint: Checkpoint, flag: str) -> Optional[str]:
        """Return an error message if the checkpoint's classes cannot be matched with those of the data, else None."""
        return order_error(self.class_names, checkpoint, self.head, flag) if self.head else None

    def warn_of_unknown_order(self, checkpoint: Checkpoint, flag: str) -> None:
        """Log a warning if the checkpoint does not name its classes, so that their order is unknown."""
        warning = order_warning(self.class_names, checkpoint, self.head, flag) if self.head else None
        # preprocess.glue writes the same order each time it makes the data of a task.
        if warning is not None and checkpoint.config.get("fine_tuned_on") != self.name:
            logger.warning(warning)

    def reordered(self, checkpoint: Checkpoint, flag: str) -> Checkpoint:
        """Return the checkpoint with its classes in the order of the data, if both have the same names."""
        return reorder_labels(self.class_names, checkpoint, self.head, flag) if self.head else checkpoint

    def reordered_head(self, checkpoint: Checkpoint, flag: str) -> Checkpoint:
        """Return `reordered`, for a head that is used: warns without names, raises CannotStart with other names."""
        error = self.order_error(checkpoint, flag)
        if error is not None:
            raise CannotStart(error)
        self.warn_of_unknown_order(checkpoint, flag)
        return self.reordered(checkpoint, flag)
