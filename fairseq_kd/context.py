"""The context of a run: the only data that criterions and transfer modules get from the task."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Optional, Protocol

import numpy as np
from torch import nn

from .models.shape import ModelShape
from .objectives import MaskedWords, SentenceLabels
from .precisions import student_autocast
from .signals import Signals, Wanted


class Teacher(Protocol):
    """Computes or reads the signals that a student learns from."""

    def signals(self, sample: Mapping[str, Any], wanted: Wanted) -> Signals:
        """Return the teacher's signals for a collated batch, on the batch's device."""


@dataclass
class DistillationContext:
    """Everything that a criterion knows about its run. The task creates it after the student; tests create their own.

    objective       loss against the labels, or masked words, and against the teacher's logits
    student_shape   shape of the student
    teacher_shape   shape of the teacher; None without a teacher
    logits_error    error message if the teacher's logits cannot be used as targets; None if they can
    head            the student's classification head; None for masked words
    data            path of the data, for error messages
    train_subset    name of the training split
    train_labels    reads the class numbers of the training split, [N]; None without labels
    autocast        returns a context manager with the student's precision for a batch
    student         the student; None if only the criterion's settings are checked
    teacher         set when the criterion's wanted signals are known; None if it wants none
    """

    objective: SentenceLabels | MaskedWords
    student_shape: ModelShape
    teacher_shape: Optional[ModelShape] = None
    logits_error: Optional[str] = None
    head: Optional[str] = None
    data: str = ""
    train_subset: str = "train"
    train_labels: Callable[[], Optional[np.ndarray]] = lambda: None
    autocast: Callable[[Mapping[str, Any]], AbstractContextManager] = student_autocast
    student: Optional[nn.Module] = None
    teacher: Optional[Teacher] = None


def teacher_missing(flag: str) -> str:
    """Return the error message for a flag that needs a teacher if none is given."""
    return f"{flag} needs a teacher, but none is given: give --teacher CHECKPOINT."
