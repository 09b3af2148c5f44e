"""Finds the data, teachers and models of a grid, makes missing data, and plans the training of missing teachers."""

import contextlib
import shlex
import signal
import subprocess
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from preprocess.encoder_files import VOCABULARIES
from preprocess.tasks import TASKS

from ..config import PREDICTION, Grid, GridConfig
from ..datasets import Data, command_for, find_data, has_data, meta_file
from ..files import check_writable
from ..models import BEST, Listed, Unfinished, file_fingerprint, find_checkpoint, find_models
from ..overrides import is_zero
from ..plugin import describe, find_python, find_trainer, importing_project
from .job import Job, teacher_spec

MODELS, TEACHER = Path("models"), "teachers/{task}"
USUAL_POSITIONS = 512
SECONDS_TO_CLEAN_UP = 10  # seconds that an interrupted command gets to remove its files


class NotReady(ValueError):
    """Reasons why nothing can start, one sentence each."""

    def __init__(self, *problems: str) -> None:
        sentences = [f"{problem}." for problem in problems]
        separator = " " if len(sentences) == 1 else "\n  "
        super().__init__(separator.join(["Cannot start:", *sentences]))


@dataclass(frozen=True)
class Teacher:
    """The teacher of one task.

    identity  fingerprint of the checkpoint, or digest of the run that trains it: part of the hash of its students
    job       the job that trains the teacher; None if the checkpoint exists
    """

    checkpoint: Path
    identity: str
    job: Job | None = None


@dataclass(frozen=True)
class Prerequisites:
    """The files that were found, by task.

    trainer       the fairseq-train to call
    teachers      of the tasks with data
    origins       checkpoints with the layers of the teachers: the teachers, or the models that they are fine-tuned from
    models        listed models
    missing       tasks without data, for which nothing can be planned
    data_command  makes the missing data
    """

    grid: Grid
    trainer: str
    data: dict[str, Data]
    teachers: dict[str, Teacher]
    origins: dict[str, Path]
    models: dict[str, list[Listed]]
    missing: tuple[str, ...] = ()
    data_command: tuple[str, ...] = ()


def find_prerequisites(grid: Grid) -> Prerequisites:
    """Find all prerequisites; raise NotReady with everything that is missing and cannot be made."""
    config, problems = grid.config, []

    def find(look: Callable[..., Any], *where: Any) -> Any:
        try:
            return look(*where)
        except ValueError as error:
            problems.append(str(error))

    find(check_writable, config.folder, "--out")
    trainer = find(find_trainer, config.trainer)
    missing = tuple(task for task in config.task if not has_data(config.data, task))
    for task in missing:
        find(_check_raw, config, task)
    data = {task: find(_find_data, config, task) for task in config.task if task not in missing}
    problems += _without_classes(grid, data)

    teachers, origins = {}, {}
    for task in config.task if config.needs_teacher else ():
        checkpoint, origins[task] = find(_find_teacher, config, task) or (None, None)
        if checkpoint is not None:
            teachers[task] = Teacher(checkpoint, file_fingerprint(checkpoint))
        elif origins[task] is not None and data.get(task) is not None and trainer is not None:
            teachers[task] = _new_teacher(config, task, data[task], origins[task], trainer)
    paths = {teacher.checkpoint for teacher in teachers.values()}
    asked = any(grid.methods[method].needs_teacher for method in config.method)
    if not problems and asked and len(teachers) > 1 and len(paths) == 1:
        problems.append(
            f"--teacher {config.teacher} is one model for {' and '.join(config.task)}: each task "
            "needs its own: write {task} in the path for the task's name"
        )
    models = find(find_models, grid.models, config.task, config.experiment == PREDICTION) or {}
    if problems:
        raise NotReady(*problems)

    command: tuple[str, ...] = ()
    if missing:
        listed = [model.checkpoint for of_task in models.values() for model in of_task]
        command = _data_command(config, missing, trainer, [*origins.values(), *listed])
    return Prerequisites(grid, trainer, data, teachers, origins, models, missing, command)


def make_data(prerequisites: Prerequisites) -> None:
    """Run the command that makes the missing data; raise NotReady if the command fails.

    After an interruption the command has ended when KeyboardInterrupt is raised.
    """
    print(shlex.join(prerequisites.data_command), flush=True)
    # Its own session receives one interrupt only: a second one would interrupt the removal of partial files.
    making = subprocess.Popen(prerequisites.data_command, env=importing_project(), start_new_session=True)
    try:
        making.wait()
    except KeyboardInterrupt:
        making.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            making.wait(SECONDS_TO_CLEAN_UP)
        raise
    finally:
        making.kill()
    if making.returncode != 0:
        tasks = " and ".join(prerequisites.missing)
        raise NotReady(f"the data of {tasks} could not be made, see the error above")


def _without_classes(grid: Grid, data: Mapping[str, Data | None]) -> list[str]:
    """Return a sentence for each method that needs classes, if a task is a regression and the terms have a weight."""
    numbers = [
        task
        for task in grid.config.task
        if (TASKS[task].regression if task in TASKS else data.get(task) is not None and data[task].regression)
    ]
    if not numbers or is_zero(grid.overrides.get("--inter-weight")):
        return []
    return [
        f"--method {name} {needs}, but the labels of --task {','.join(numbers)} are numbers (regression): remove one of them"
        for name in grid.config.method
        if (needs := grid.methods[name].needs_classes)
    ]


def _find_data(config: GridConfig, task: str) -> Data:
    """Return the data of a task; raise ValueError if it is missing or longer than --max-positions."""
    data = find_data(config.data, task)
    most = config.max_positions
    if most is not None and data.longest is not None and data.longest > most:
        raise ValueError(
            f"--max-positions is {most}, and {data.folder} is truncated to {data.longest} tokens: make it again with "
            f"`{command_for(task)} --max-positions {most}`, or name other data with --data"
        )
    return data


def _check_raw(config: GridConfig, task: str) -> None:
    """Raise ValueError if the data of a task neither exists nor can be made, for lack of raw files or vocabulary."""
    try:
        find_data(config.data, task)
    except ValueError as missing:
        if task not in TASKS:
            raise
        if not config.glue_dir.is_dir():
            raise ValueError(
                f"{missing}, or the folder of its raw files with --glue-dir ({config.glue_dir} has none)"
            ) from None
        try:
            _vocabulary(config)
        except ValueError as error:
            raise ValueError(f"{missing}, or have it made from {config.glue_dir}: {error}") from None


def _data_command(
    config: GridConfig, tasks: Sequence[str], trainer: str, models: Sequence[Path]
) -> tuple[str, ...]:
    """Return the command that makes the data of tasks, no longer than the models take; raise NotReady if one is damaged."""
    shapes = read_shapes(config.trainer, {_pretrained(config), *models})
    fewest = min(shape["positions"] for shape in shapes.values())
    positions = config.max_positions or (fewest if fewest < USUAL_POSITIONS else None)
    return (
        *(find_python(trainer), "-m", "preprocess.glue", "--glue-dir", str(config.glue_dir)),
        *("--tasks", ",".join(tasks), "--encoder-dir", str(_vocabulary(config)), "--out", str(config.data)),
        *(("--max-positions", str(positions)) if positions is not None else ()),
    )


def read_shapes(trainer: str | None, models: Collection[Path]) -> dict[Path, dict[str, int]]:
    """Return `layers` and `positions` of each checkpoint; raise NotReady for those that cannot be read."""
    described = describe(trainer, models)
    if problems := [each["problem"].rstrip(".") for each in described.values() if "problem" in each]:
        raise NotReady(*problems)
    return described


def _vocabulary(config: GridConfig) -> Path:
    """Return the folder with the vocabulary of the pre-trained model."""
    folder = _pretrained(config).parent
    if not any((folder / name).is_file() for name in VOCABULARIES):
        raise ValueError(
            f"--pretrained {folder} contains no vocabulary ({', '.join(VOCABULARIES[:-1])} or {VOCABULARIES[-1]}): "
            "put it next to the model"
        )
    return folder


def _pretrained(config: GridConfig) -> Path:
    if config.pretrained is not None:
        return find_checkpoint(config.pretrained, "--pretrained")

    found = []
    for folder in (MODELS, *sorted(MODELS.glob("*/"))):
        with contextlib.suppress(ValueError):
            found.append(find_checkpoint(folder, "--pretrained"))
    if len(found) != 1:
        there = " and ".join(str(path.parent) for path in found) or "no model"
        raise ValueError(f"name a pre-trained model with --pretrained ({MODELS} contains {there})")
    return found[0]


def _find_teacher(config: GridConfig, task: str) -> tuple[Path | None, Path]:
    """Return the existing teacher or None, and the checkpoint with its layers; raise ValueError if neither exists."""
    named = Path((config.teacher or TEACHER).replace("{task}", task))
    try:
        checkpoint = find_checkpoint(named, "--teacher")
        return checkpoint, checkpoint
    except Unfinished:
        raise
    except ValueError as error:
        make = (
            f"{error}, or make one with `python scripts/finetune_teacher.py --data {meta_file(config.data, task).parent} "
            f"--model MODEL --out {named}`"
        )
        # A wrong --teacher is an error. It does not start hours of training.
        if config.teacher is not None and config.pretrained is None:
            raise ValueError(make) from None
        try:
            return None, _pretrained(config)
        except ValueError as reason:
            raise ValueError(f"{make}; to have it made, {reason}") from None


def _new_teacher(config: GridConfig, task: str, data: Data, model: Path, trainer: str) -> Teacher:
    spec = teacher_spec(
        task, data, model, config.teacher_epochs, config.teacher_batch_size, config.teacher_lr
    )
    folder = config.out / "teachers" / spec.name
    job = Job(
        spec, folder, data, trainer, config.cpu, start=model, is_teacher=True, processes=config.gpus_per_run
    )
    return Teacher(folder / BEST, spec.digest, job)
