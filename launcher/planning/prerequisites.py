"""Finds the data, teachers and models of a grid, or plans how to make the missing ones."""

import argparse
import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from preprocess.tasks import TASKS

from ..datasets import PUBLISHED_EPOCHS, Data, find_data, has_data
from ..model_list import Listed, find_models
from ..models import BEST, CHECKPOINT_NAMES, Unfinished, file_fingerprint, find_checkpoint, find_teacher
from ..overrides import gives_zero
from ..paths import check_writable, find_python, find_trainer
from .expand import PREDICTION, Grid, settle
from .job import Job
from .teachers import teacher_job, teacher_spec

MODELS, TEACHER = Path("models"), "teachers/{task}"
VOCABULARIES = ("encoder.json", "vocab.txt", "tokenizer.json", "sentencepiece.model")


class NotReady(ValueError):
    """Reasons why nothing can start, one sentence each."""

    def __init__(self, problems: Sequence[str]) -> None:
        sentences = [f"{problem}." for problem in problems]
        super().__init__("Cannot start: " + sentences[0] if len(sentences) == 1 else _listed(sentences))


def _listed(sentences: Sequence[str]) -> str:
    return "\n  ".join(["Cannot start:", *sentences])


@dataclass(frozen=True)
class Inputs:
    """The settings that name inputs and outputs.

    out, group     runs are written to out/group, trained teachers to out/teachers
    teacher        None for teachers/{task}
    pretrained     None for the only model in models/
    max_positions  required maximum length of inputs, in tokens; None for any
    teacher_*      settings of teachers that are trained; None for the published ones
    typed          names of the settings in the command line, which are checked even where they are not needed
    """

    out: Path
    group: str
    data: Path
    teacher: str | None = None
    pretrained: Path | None = None
    glue_dir: Path = Path("glue")
    max_positions: int | None = None
    teacher_epochs: int = PUBLISHED_EPOCHS
    teacher_batch_size: int | None = None
    teacher_lr: float | None = None
    trainer: str | None = None
    cpu: bool = False
    typed: frozenset[str] = frozenset()

    @classmethod
    def from_arguments(cls, args: argparse.Namespace, cpu: bool) -> "Inputs":
        """Take the fields of the same names from the parsed arguments."""
        return cls(**{field.name: getattr(args, field.name) for field in fields(cls)} | {"cpu": cpu})


@dataclass(frozen=True)
class Teacher:
    """The teacher of one task.

    identity  fingerprint of the checkpoint, or digest of the run that trains it: part of the hash of its students
    model     checkpoint with the same layers: its own, or the pre-trained model
    job       the job that trains the teacher; None if the checkpoint exists
    """

    checkpoint: Path
    identity: str
    model: Path
    job: Job | None = None


@dataclass(frozen=True)
class Prerequisites:
    """The files that were found; data and teachers by task.

    models       listed models, by task
    make_data    the command that makes the missing data; without this data nothing can be planned
    waiting_for  tasks of the missing data
    """

    grid: Grid
    folder: Path
    trainer: str
    data: dict[str, Data]
    teachers: dict[str, Teacher]
    models: dict[str, list[Listed]]
    make_data: tuple[str, ...] = ()
    waiting_for: tuple[str, ...] = ()


def find_prerequisites(grid: Grid, inputs: Inputs) -> Prerequisites:
    """Find all prerequisites; raise NotReady with everything that is missing and cannot be made."""
    problems: list[str] = []

    def find(look: Callable, *where):
        try:
            return look(*where)
        except ValueError as error:
            problems.append(str(error))

    for check in (_check_pretrained, _check_glue_dir):
        find(check, inputs)
    if problems:
        raise NotReady(problems)

    folder = inputs.out / inputs.group
    find(check_writable, folder, "--out")
    grid = find(settle, grid) or grid
    problems += _without_classes(grid)
    trainer = find(find_trainer, inputs.trainer)

    missing = tuple(task for task in grid.tasks if not has_data(inputs.data, task))
    for task in missing:
        find(_check_raw, inputs, task)
    data = {task: find(_find_data, inputs, task) for task in grid.tasks if task not in missing}

    teachers: dict[str, Teacher] = {}
    if grid.needs_teacher:
        for task in grid.tasks:
            teachers[task] = find(_teacher, inputs, task, data.get(task), trainer)
        _check_own(grid, inputs, teachers, problems)
    models = find(find_models, grid.models, grid.tasks, grid.kind == PREDICTION) or {}
    if problems:
        raise NotReady(problems)
    command = _data_command(inputs, missing, trainer) if missing else ()
    return Prerequisites(grid, folder, trainer, data, teachers, models, command, missing)


def _check_pretrained(inputs: Inputs) -> None:
    """Raise ValueError if --pretrained in the command line is no model, even if no task needs it."""
    if "pretrained" in inputs.typed:
        try:
            find_checkpoint(inputs.pretrained, "--pretrained")
        except Unfinished:
            raise
        except ValueError as error:
            names = " or ".join(CHECKPOINT_NAMES)
            raise ValueError(f"{error}: give a checkpoint, or a folder with {names}") from None


def _check_glue_dir(inputs: Inputs) -> None:
    if "glue_dir" in inputs.typed and not inputs.glue_dir.is_dir():
        raise ValueError(
            f"--glue-dir {inputs.glue_dir} is no folder: give the one that holds a folder of raw files for each task"
        )


def _without_classes(grid: Grid) -> list[str]:
    """Return a sentence for each method that needs classes, if a task is a regression and the terms have a weight."""
    numbers = [task for task in grid.tasks if TASKS[task].regression]
    if not numbers or gives_zero("--inter-weight", grid.flags):
        return []
    return [
        f"--method {name} {needs}, but those of --task {','.join(numbers)} are numbers (regression): leave one of the two "
        "out"
        for name in grid.methods
        if (needs := grid.known[name].needs_classes)
    ]


def _find_data(inputs: Inputs, task: str) -> Data:
    """Return the data of a task; raise ValueError if it is missing or longer than --max-positions."""
    data = find_data(inputs.data, task)
    longest = inputs.max_positions
    if longest is not None and data.longest is not None and data.longest > longest:
        raise ValueError(
            f"--max-positions is {longest}, and {data.folder} is cut at {data.longest} tokens: make it again with "
            f"`python -m preprocess.glue --tasks {task} --max-positions {longest}`, or name other data with --data"
        )
    return data


def _check_raw(inputs: Inputs, task: str) -> None:
    """Raise ValueError if the data of a task neither exists nor can be made."""
    from preprocess.errors import DataError
    from preprocess.sources import find_sources
    from preprocess.tasks import find_task

    try:
        find_data(inputs.data, task)
    except ValueError as missing:
        try:
            find_sources(find_task(task), inputs.glue_dir, {}, [])
        except (DataError, OSError):
            raise ValueError(
                f"{missing}, or the folder of its raw files with --glue-dir ({inputs.glue_dir} has none)"
            ) from None
        try:
            _vocabulary(inputs)
        except ValueError as error:
            raise ValueError(f"{missing}, or have it made from {inputs.glue_dir}: {error}") from None


def _data_command(inputs: Inputs, tasks: Sequence[str], trainer: str) -> tuple[str, ...]:
    return (
        *(find_python(trainer), "-m", "preprocess.glue", "--glue-dir", str(inputs.glue_dir)),
        *("--tasks", ",".join(tasks), "--encoder-dir", str(_vocabulary(inputs)), "--out", str(inputs.data)),
        *(("--max-positions", str(inputs.max_positions)) if inputs.max_positions is not None else ()),
    )


def _vocabulary(inputs: Inputs) -> Path:
    """Return the folder with the vocabulary of the pre-trained model."""
    folder = _pretrained(inputs).parent
    if not any((folder / name).is_file() for name in VOCABULARIES):
        raise ValueError(
            f"--pretrained {folder} holds no vocabulary ({', '.join(VOCABULARIES[:-1])} or {VOCABULARIES[-1]}): "
            "put it beside the model"
        )
    return folder


def _pretrained(inputs: Inputs) -> Path:
    if inputs.pretrained is not None:
        return find_checkpoint(inputs.pretrained, "--pretrained")

    found = []
    for folder in (MODELS, *sorted(MODELS.glob("*/"))):
        with contextlib.suppress(ValueError):
            found.append(find_checkpoint(folder, "--pretrained"))
    if len(found) != 1:
        there = " and ".join(str(path.parent) for path in found) or "no model"
        raise ValueError(f"name a pre-trained model with --pretrained ({MODELS} holds {there})")
    return found[0]


def _teacher(inputs: Inputs, task: str, data: Data | None, trainer: str | None) -> Teacher | None:
    """Return the existing teacher, or the one to train; None if its data or the trainer is missing."""
    try:
        path = find_teacher(inputs.teacher or TEACHER, task)
        return Teacher(path, file_fingerprint(path), path)
    except Unfinished:
        raise
    except ValueError as error:
        # A wrong --teacher is an error. It does not start hours of training.
        if inputs.teacher is not None and inputs.pretrained is None:
            raise
        try:
            model = _pretrained(inputs)
        except ValueError as reason:
            raise ValueError(f"{error}; to have one made, {reason}") from None

    if data is None or trainer is None:
        return None
    spec = teacher_spec(
        task, data, model, inputs.teacher_epochs, inputs.teacher_batch_size, inputs.teacher_lr
    )
    folder = inputs.out / "teachers" / spec.name
    job = teacher_job(spec, folder, data, model, trainer, inputs.cpu)
    return Teacher(folder / BEST, spec.digest, model, job)


def _check_own(
    grid: Grid, inputs: Inputs, teachers: Mapping[str, Teacher | None], problems: list[str]
) -> None:
    paths = {teacher.checkpoint for teacher in teachers.values() if teacher is not None}
    asked = any(grid.known[method].needs_teacher for method in grid.methods)
    if not problems and len(grid.tasks) > 1 and len(paths) == 1 and asked:
        problems.append(
            f"--teacher {inputs.teacher} is one model for {' and '.join(grid.tasks)}: write {{task}} where the path "
            "tells their own teachers apart"
        )
