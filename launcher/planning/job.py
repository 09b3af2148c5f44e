"""A planned run: what to train, from which files, in which folder."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from ..datasets import BATCH_SIZE_MULTIPLE, Data, batches_of_an_epoch, scheduled, settings_of, update_freqs
from ..methods import NO_TEACHER
from ..models import BEST, file_fingerprint
from ..overrides import Overrides, Value
from .run_spec import FIRST, ONE, RunSpec


@dataclass(frozen=True)
class Job:
    """A run and the files that it needs; `execution.command` renders its command lines.

    folder      run directory
    trainer     the fairseq-train to call
    start       checkpoint of the initial weights: the teacher, a first stage, or a model of the user
    teacher     checkpoint of the teacher; None for a method without one
    cache       folder in which the teacher's signals are stored; None for no cache
    after       names of the jobs that must end first: its first stage, the training of its teacher
    is_teacher  whether it trains a teacher, which needs the dictionary of the data in its folder
    keeps_last  whether checkpoint_last.pt is kept after training, because a second stage starts from it
    trackers    flags of TensorBoard and Weights & Biases; they do not change the result
    processes   number of training processes, which divide each batch
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
    is_teacher: bool = False
    keeps_last: bool = False
    trackers: Mapping[str, str] = field(default_factory=dict)
    processes: int = 1

    @property
    def name(self) -> str:
        """Name of the run."""
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
        """Updates of the whole run, from its data and overrides; its schedule may be longer."""
        overrides = self.spec.overrides
        multiple = _number(overrides, "--required-batch-size-multiple", BATCH_SIZE_MULTIPLE)
        sentences = self.data.training_sentences(overrides)
        batches = batches_of_an_epoch(sentences, self.spec.batch_size, max(1, multiple))
        updates = sum(math.ceil(batches / freq) for freq in update_freqs(overrides, self.spec.epochs))
        return min(updates, _number(overrides, "--max-update", 0) or updates)

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
        """Return in words why this job depends on the job `name`."""
        return "its first stage" if name == self.spec.after else "its teacher"


def teacher_spec(
    task: str,
    data: Data,
    model: Path,
    epochs: int,
    batch_size: int | None = None,
    lr: float | None = None,
    seed: int = 1,
    overrides: Overrides | None = None,
) -> RunSpec:
    """Return the run that fine-tunes `model` with all its layers; None stands for the published setting of the task."""
    settings = settings_of(task, data)
    batch_size = batch_size or settings.batch_size
    return RunSpec(
        task=task,
        method=NO_TEACHER,
        init="all",
        mapping="",
        stage=ONE,
        seed=seed,
        batch_size=batch_size,
        lr=lr or settings.lr,
        data=data.fingerprint,
        teacher=file_fingerprint(model),
        overrides=overrides or {},
        **scheduled(settings, epochs, batch_size, data.sentences, overrides),
    )


def _number(overrides: Mapping[str, Value], flag: str, default: int) -> int:
    """Return the value of a flag, or the default if that is no whole number."""
    value = overrides.get(flag)
    return int(value) if isinstance(value, str) and value.isdecimal() else default
