"""Checks the layers and flags of a plan before training, and notes what the user may not expect."""

import json
import re
from collections.abc import Iterator, Sequence

from .config import METHOD, Grid
from .datasets import UNLABELLED_SUBSET
from .execution.command import learns_from_teacher, train_arguments, uses_cache
from .planning.expand import origin
from .planning.job import Job
from .planning.prerequisites import NotReady, Prerequisites, read_shapes
from .planning.run_spec import FIRST, SECOND, RunSpec
from .plugin import find_python, run_module
from .results.runs import read_result

# Below this number of sentences that the teacher computes again, no cache is suggested.
WORTHWHILE = 50_000


def check_layers(prerequisites: Prerequisites) -> None:
    """Raise NotReady for teachers that cannot be read, and for --init and --mapping with layers that they lack.

    The layers of a teacher that is trained first are those of its pre-trained model.
    """
    grid, config = prerequisites.grid, prerequisites.grid.config
    found = read_shapes(config.trainer, set(prerequisites.origins.values()))
    # With --init-from, students are initialised from another model.
    inits = config.init if "--init-from" not in grid.overrides else ()
    maps = any(grid.methods[name].mapping is not None for name in config.method)
    sentences = []
    for model, shape in found.items():
        layers = shape["layers"]
        has = f"{model} has {layers} layers"
        for init in inits:
            named = [int(number) for number in init.split(",") if number.isdecimal()]
            if named and max(named) >= layers:
                sentences.append(
                    f"--init {init} contains layer {max(named)}, and {has}: name 0 to {layers - 1}"
                )
        for mapping in config.mapping if maps else ():
            if _highest_state(mapping) > layers:
                sentences.append(
                    f"--mapping {mapping} contains state {_highest_state(mapping)}, and {has}: name 0 to {layers}"
                )
    if sentences:
        raise NotReady(*sentences)


def _highest_state(mapping: str) -> int:
    """Return the highest teacher state in a mapping: 10 for top10, 4 for 0:0,1:4; 0 if it contains no number."""
    return max((int(number) for number in re.findall(r"(?:^top|:)(\d+)", mapping)), default=0)


def check_origins(jobs: Sequence[Job]) -> None:
    """Raise NotReady if an unfinished job starts from a checkpoint that was removed from a finished job."""
    finished = {job.name: job.folder for job in jobs if read_result(job.folder) is not None}
    needed = {
        origin(finished[name], job.spec, name): (name, job)
        for job in jobs
        if job.name not in finished
        for name in job.after
        if name in finished
    }
    problems = [
        f"{checkpoint} is missing, and {job.name} starts from it, {job.role(name)}: put it back, or delete "
        f"{checkpoint.parent} to train it again"
        for checkpoint, (name, job) in needed.items()
        if not checkpoint.is_file()
    ]
    if problems:
        raise NotReady(*problems)


def check_batches(jobs: Sequence[Job]) -> None:
    """Raise NotReady if --gpus-per-run does not divide a batch."""
    sizes = sorted({job.spec.batch_size for job in jobs if job.spec.batch_size % job.processes})
    if sizes:
        raise NotReady(
            f"--gpus-per-run {jobs[0].processes} does not divide batches of {' and '.join(map(str, sizes))} sentences: "
            "change it, or --batch-size and --teacher-batch-size"
        )


def check_flags(jobs: Sequence[Job]) -> None:
    """Raise NotReady if fairseq-train does not accept a flag, or its value.

    Takes seconds, because fairseq is imported. Finished jobs and jobs without flags of the user are not checked. If the
    check itself fails, nothing is raised, because the runs then report errors.
    """
    asked: dict[tuple, Job] = {}
    for job in jobs:
        if job.spec.overrides and read_result(job.folder) is None:
            asked.setdefault(_kind(job.spec), job)
    if not asked:
        return
    commands = [train_arguments(job) for job in asked.values()]
    try:
        python = find_python(jobs[0].trainer)
        refusals = run_module(python, "tasks.check_flags", text=json.dumps(commands))
    except ValueError:
        return
    if problems := dict.fromkeys(refusal.rstrip(".") for refusal in refusals if refusal):
        raise NotReady(*problems)


def _kind(spec: RunSpec) -> tuple:
    """Return the part of a run that decides which flags it accepts; other fields are set by the launcher."""
    return spec.criterion, spec.stage, tuple(spec.overrides.items())


def notes(grid: Grid, jobs: Sequence[Job]) -> Iterator[str]:
    """Yield a line for each thing that the user may not expect of the plan."""
    if unused := unused_flags(grid, jobs):
        yield f"Warning: no run of this grid uses {', '.join(unused)}."
    if names := without_unlabelled(grid, jobs):
        yield f"Note: --unlabelled-subset: {', '.join(names)} has runs that learn from labelled sentences only."
    if passes := repeated_passes(jobs):
        yield (
            f"Note: the teacher computes the training data {passes} times; with --teacher-cache DIR, all runs read its "
            "stored signals (scripts/cache_teacher.py --dry-run prints their size)."
        )


def without_unlabelled(grid: Grid, jobs: Sequence[Job]) -> list[str]:
    """Return the methods with a teacher of which a run learns from labelled sentences only, despite --unlabelled-subset."""
    if not grid.config.unlabelled_subset:
        return []
    lacking = [
        job.spec.method for job in jobs if not job.is_teacher and UNLABELLED_SUBSET not in job.spec.overrides
    ]
    return list(dict.fromkeys(name for name in lacking if grid.methods[name].needs_teacher))


def repeated_passes(jobs: Sequence[Job]) -> int:
    """Return how often live teachers compute the training data; 0 if a cache would spare them few sentences.

    Finished runs and runs with a cache are not counted.
    """
    live = [
        job
        for job in jobs
        if job.cache is None and learns_from_teacher(job) and read_result(job.folder) is None
    ]
    repeated = sum((job.spec.epochs - 1) * job.data.training_sentences(job.spec.overrides) for job in live)
    return sum(job.spec.epochs for job in live) if repeated >= WORTHWHILE else 0


def unused_flags(grid: Grid, jobs: Sequence[Job]) -> list[str]:
    """Return the flags without effect on any job."""
    config, specs = grid.config, [job.spec for job in jobs]
    stages = {spec.stage for spec in specs}
    trains_teachers = any(job.is_teacher for job in jobs)
    used = {
        "mapping": config.experiment != METHOD or any(spec.mapping for spec in specs),
        "stage": "two" not in config.stage or SECOND in stages,
        **dict.fromkeys(("stage1_epochs", "stage2_from"), FIRST in stages),
        "teacher": config.needs_teacher,
        "unlabelled_subset": any(UNLABELLED_SUBSET in spec.overrides for spec in specs),
        "teacher_cache": any(map(uses_cache, jobs)),
        **dict.fromkeys(("teacher_epochs", "teacher_batch_size", "teacher_lr"), trains_teachers),
    }
    passed = {flag for spec in specs for flag in spec.overrides}
    own = [f"--{name.replace('_', '-')}" for name in used if name in grid.given and not used[name]]
    return [*own, *(flag for flag in grid.overrides if flag not in passed)]
