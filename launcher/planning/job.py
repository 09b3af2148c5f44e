"""A planned run: what to train, from which files, in which folder."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ..datasets import Data
from ..models import BEST
from ..overrides import value_of
from .run_spec import FIRST, RunSpec
from .schedule import update_freqs

BATCH_SIZE_MULTIPLE = 8  # fairseq's default of --required-batch-size-multiple


@dataclass(frozen=True)
class Job:
    """A run and the files that it needs; `execution.command` renders its command lines.

    folder           run directory
    trainer          the fairseq-train to call
    start            checkpoint of the initial weights: the teacher, a first stage, or a model of the user
    teacher          checkpoint of the teacher; None for a method without one
    cache            folder in which the teacher's signals are stored; None for no cache
    after            names of the jobs that must end first: its first stage, the training of its teacher
    keep_dictionary  whether to copy the data's dictionary into the run directory, as a teacher needs it there
    keeps_last       whether checkpoint_last.pt is kept after training, because a second stage starts from it
    """

    spec: RunSpec
    folder: Path
    data: Data
    trainer: str
    cpu: bool
    start: Path
    teacher: Path | None = None
    cache: Path | None = None
    after: tuple[str, ...] = ()
    keep_dictionary: bool = False
    keeps_last: bool = False

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def metric(self) -> str:
        """The metric that selects the best checkpoint: the loss in a first stage, which trains no classifier."""
        return "loss" if self.spec.stage == FIRST else self.data.metric

    @property
    def predicts(self) -> bool:
        """Whether predictions are saved after training: not for a first stage, which trains no classifier."""
        return self.spec.stage != FIRST

    @property
    def lacks_predictions(self) -> bool:
        """Whether predictions are missing and can still be made."""
        files = [self.folder / "predictions" / f"{subset}.npz" for subset in self.data.subsets]
        return self.predicts and (self.folder / BEST).is_file() and not all(path.is_file() for path in files)

    @cached_property
    def updates(self) -> int:
        """Updates of the whole run, from its data and flags; its schedule may be longer."""
        flags = self.spec.flags
        multiple = _number("--required-batch-size-multiple", flags, BATCH_SIZE_MULTIPLE)
        batches = batches_of_an_epoch(self.data.sentences, self.spec.batch_size, max(1, multiple))
        updates = sum(math.ceil(batches / freq) for freq in update_freqs(flags, self.spec.epochs))
        return min(updates, _number("--max-update", flags, 0) or updates)

    @property
    def planned_models(self) -> dict[Path, str]:
        """Fingerprints of the checkpoints that the run was planned with, except those that another job makes."""
        # The spec has no fingerprint of a teacher that another job trains.
        of_teacher = self.spec.teacher if set(self.after) <= {self.spec.after} else ""
        # Without a teacher, `spec.teacher` is the fingerprint of `start`, unless `spec.start` is.
        origin = self.start if self.teacher is None and not self.spec.start else self.teacher
        named = ((origin, of_teacher), (self.start, self.spec.start))
        return {path: fingerprint for path, fingerprint in named if path is not None and fingerprint}

    def role(self, name: str) -> str:
        """Return what the job of that name is to this one."""
        return "its first stage" if name == self.spec.after else "its teacher"


def batches_of_an_epoch(sentences: int, batch_size: int, multiple: int) -> int:
    """Return the number of batches that fairseq makes of the sentences.

    fairseq cuts each batch, the last one too, to a multiple of `multiple` sentences, unless it is smaller than that.
    """
    if batch_size > multiple:
        batch_size -= batch_size % multiple
    full, rest = divmod(sentences, batch_size)
    return full + (rest >= multiple) + (rest % multiple > 0)


def _number(flag: str, flags: Sequence[str], default: int) -> int:
    """Return the last value of a flag, or the default if that is no whole number."""
    value = value_of(flag, flags) or ""
    return int(value) if value.isdecimal() else default
