"""Expands the lists of a grid into runs, and the runs into jobs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

from ..config import METHOD, PREDICTION, Grid, GridConfig
from ..datasets import UNLABELLED_SUBSET, Data, command_for, scheduled, settings_of
from ..methods import LOGITS, NO_TEACHER, fitting
from ..models import ALL_LAYERS, BEST, STAGE2_FROM, Listed
from ..overrides import Value, is_zero, without_weights
from .job import Job
from .prerequisites import NotReady, Prerequisites
from .run_spec import FIRST, ONE, SECOND, RunSpec, criterion_of


def plan(
    grid: Grid, data: Mapping[str, Data], teachers: Mapping[str, str], models: Mapping[str, Sequence[Listed]]
) -> list[RunSpec]:
    """Return all runs of a grid, each once, a first stage before its second.

    data      by task
    teachers  identities of the teachers, by task
    models    listed models, by task
    """
    runs: dict[str, RunSpec] = {}
    config = grid.config
    for task in config.task:
        cells = _cells(grid) if config.experiment == METHOD else _cells_of_models(grid, models[task])
        settings = settings_of(task, data[task])
        batch_sizes = config.batch_size or [settings.batch_size]
        for cell, batch_size, lr, seed in product(
            cells, batch_sizes, config.lr or [settings.lr], config.seeds
        ):
            if cell.seed in (None, seed):
                identity = teachers.get(task, "")
                for spec in _stages(grid, cell, task, batch_size, lr, seed, data[task], identity):
                    runs.setdefault(spec.name, spec)
    return list(runs.values())


def plan_jobs(prerequisites: Prerequisites) -> list[Job]:
    """Return the jobs of a grid: the teachers to train, then its runs."""
    grid, teachers = prerequisites.grid, prerequisites.teachers
    identities = {task: teacher.identity for task, teacher in teachers.items()}
    runs = plan(grid, prerequisites.data, identities, prerequisites.models)
    return [
        *(teacher.job for teacher in teachers.values() if teacher.job),
        *(_job(spec, prerequisites) for spec in runs),
    ]


@dataclass(frozen=True)
class _Cell:
    """The settings that runs of all tasks and seeds share; see RunSpec. `seed` restricts the cell to one seed."""

    method: str
    init: str
    mapping: str
    stages: str
    start: str = ""
    layers: str = ALL_LAYERS
    seed: int | None = None


def _cells(grid: Grid) -> list[_Cell]:
    """Return each cell once; methods without a mapping or first stage are not multiplied by mappings or stages."""
    config, cells = grid.config, []
    for name, init, mapping, stages in product(
        config.method, config.init, config.mapping or [None], config.stage
    ):
        method = grid.methods[name]
        own = "" if method.mapping is None else mapping or method.mapping
        cells.append(_Cell(name, init, own, stages if method.first_stage else "one"))
    return list(dict.fromkeys(cells))


def _cells_of_models(grid: Grid, models: Sequence[Listed]) -> list[_Cell]:
    """Return a cell for each model: its second stage, or its fine-tuning."""
    predicts = grid.config.experiment == PREDICTION
    method, stages = (LOGITS, SECOND) if predicts else (NO_TEACHER, "one")
    cells = []
    for model in models:
        seed = None if model.place is None else grid.config.seeds[model.place]
        cells.append(_Cell(method, model.name, "", stages, model.fingerprint, model.layers, seed))
    return cells


def _stages(
    grid: Grid, cell: _Cell, task: str, batch_size: int, lr: float, seed: int, data: Data, teacher: str
) -> list[RunSpec]:
    config = grid.config

    def of_stage(stage: str, epochs: int) -> RunSpec:
        overrides = _overrides(grid, cell.method, stage, task, data)
        sentences = data.training_sentences(overrides)
        return RunSpec(
            task=task,
            method=cell.method,
            init=cell.init,
            mapping=cell.mapping,
            stage=stage,
            seed=seed,
            **scheduled(settings_of(task, data), epochs, batch_size, sentences, grid.overrides),
            batch_size=batch_size,
            lr=lr,
            data=data.identity(overrides),
            teacher=teacher,
            overrides=overrides,
            start=cell.start,
            layers=cell.layers,
            start_of_seed=cell.seed is not None,
        )

    last = of_stage(SECOND if cell.stages in (SECOND, "two") else ONE, config.epochs)
    if cell.stages != "two":
        return [last]
    first = of_stage(FIRST, config.stage1_epochs or config.epochs)
    return [first, replace(last, after=first.name, stage2_from=config.stage2_from)]


def _overrides(grid: Grid, method: str, stage: str, task: str, data: Data) -> dict[str, Value]:
    """Return the user's flags that the criterion has and that take effect in the stage.

    With --unlabelled-subset if the criterion learns from text without labels; raises NotReady if the data lacks a split.
    """
    criterion = criterion_of(method, stage)
    overrides = fitting(grid.overrides, criterion, grid.methods)
    if stage == FIRST or method == NO_TEACHER:
        overrides = without_weights(overrides)
    given = grid.config.unlabelled_subset
    from_labels = criterion == LOGITS and is_zero(overrides.get("--soft-weight"))
    if (
        not given
        or not grid.methods[method].needs_teacher
        or grid.methods[criterion].needs_classes
        or from_labels
    ):
        return overrides
    for name in given.split(","):
        if name not in data.splits:
            raise NotReady(
                f"--unlabelled-subset {name} is no split of {data.folder} (it has {', '.join(data.splits)}): make it with "
                f"`{command_for(task)} --unlabelled FILE`, or with `python -m preprocess.augment`"
            )
    return {**overrides, UNLABELLED_SUBSET: given}


def _job(spec: RunSpec, prerequisites: Prerequisites) -> Job:
    config = prerequisites.grid.config
    teacher = prerequisites.teachers.get(spec.task)
    needs_teacher = teacher is not None and prerequisites.grid.methods[spec.method].needs_teacher
    trained = [teacher.job.name] if teacher is not None and teacher.job is not None else []
    return Job(
        spec,
        config.folder / spec.name,
        prerequisites.data[spec.task],
        prerequisites.trainer,
        config.cpu,
        teacher=teacher.checkpoint if needs_teacher else None,
        cache=config.teacher_cache / spec.task if config.teacher_cache is not None else None,
        start=_start(spec, prerequisites),
        after=(*trained, *([spec.after] if spec.after else [])),
        keeps_last=spec.stage == FIRST and config.stage2_from == "last",
        trackers=_trackers(spec, config),
        processes=config.gpus_per_run,
    )


def _trackers(spec: RunSpec, config: GridConfig) -> dict[str, str]:
    """Return the flags of the trackers; fairseq names a run of Weights & Biases after its folder."""
    flags = {}
    if config.tensorboard_logdir is not None:
        flags["--tensorboard-logdir"] = str(config.tensorboard_logdir / config.group / spec.name)
    if config.wandb_project is not None:
        flags["--wandb-project"] = config.wandb_project
    return flags


def _start(spec: RunSpec, prerequisites: Prerequisites) -> Path:
    """Return the checkpoint of a run's initial weights."""
    if spec.after:
        return origin(prerequisites.grid.config.folder / spec.after, spec, spec.after)
    if spec.start:
        models = prerequisites.models[spec.task]
        return next(
            model.checkpoint for model in models if (model.name, model.fingerprint) == (spec.init, spec.start)
        )
    return prerequisites.teachers[spec.task].checkpoint


def origin(folder: Path, spec: RunSpec, name: str) -> Path:
    """Return the checkpoint that a run starts from or learns from, in the folder of the job `name`."""
    return folder / (STAGE2_FROM[spec.stage2_from] if name == spec.after else BEST)
