"""Teachers: a pre-trained model fine-tuned on a task, with every layer and on the labels alone."""

from collections.abc import Sequence
from pathlib import Path

from ..datasets import TASKS, Data
from ..execution.job import Job, make_job
from ..methods import NO_TEACHER
from ..models import file_fingerprint
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
    """The fine-tuning of `model` as a run; None leaves a setting to the published one of the task."""
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
    """Its training into `folder`, with the data's dictionary beside the checkpoint, as the plugin asks of a teacher."""
    return make_job(spec, folder, data, trainer, cpu, start=model, keep_dictionary=True)
