"""Plans the training of teachers: a pre-trained model fine-tuned on the labels, with all its layers."""

from collections.abc import Sequence
from pathlib import Path

from ..datasets import TASKS, Data
from ..methods import NO_TEACHER
from ..models import file_fingerprint
from .job import Job
from .run_spec import ONE, RunSpec
from .schedule import scheduled


def teacher_spec(
    task: str,
    data: Data,
    model: Path,
    epochs: int,
    batch_size: int | None = None,
    lr: float | None = None,
    seed: int = 1,
    flags: Sequence[str] = (),
) -> RunSpec:
    """Return the run that fine-tunes `model`; None stands for the published setting of the task."""
    settings = TASKS[task]
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
        flags=tuple(flags),
        **scheduled(settings, epochs, batch_size, data.sentences, flags),
    )


def teacher_job(spec: RunSpec, folder: Path, data: Data, model: Path, trainer: str, cpu: bool) -> Job:
    """Return the job that trains a teacher into `folder`, with the dictionary that the plugin needs beside it."""
    return Job(spec, folder, data, trainer, cpu, start=model, keep_dictionary=True)
