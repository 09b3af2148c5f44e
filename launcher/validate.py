"""Checks the layers and flags of planned runs before training, and finds flags without effect."""

import json
import re
import subprocess
from collections.abc import Collection, Sequence

from .execution.command import train_command, uses_cache
from .overrides import grouped, value_of
from .paths import find_python, importing_project
from .planning.expand import METHOD, Grid
from .planning.job import Job
from .planning.prerequisites import NotReady, Prerequisites
from .planning.run_spec import FIRST, SECOND, RunSpec
from .plugin import ask
from .results.outcome import read_result


def check_layers(runs: Sequence[RunSpec], prerequisites: Prerequisites) -> None:
    """Raise NotReady for teachers that cannot be read, and for --init and --mapping with layers that they lack.

    The layers of a teacher that is trained first are those of its pre-trained model.
    """
    models = {task: teacher.model for task, teacher in prerequisites.teachers.items()}
    _, found = ask(prerequisites.trainer, set(models.values()))
    if problems := [each["problem"].rstrip(".") for each in found.values() if "problem" in each]:
        raise NotReady(problems)
    sentences = []
    for spec in runs:
        if spec.task not in models or spec.start:
            continue
        model = models[spec.task]
        layers = found[model]["layers"]
        has = f"{model} has {layers} layers"
        # With --init-from, the layers are those of another model.
        copied = spec.init if value_of("--init-from", spec.flags) is None else ""
        named = [int(number) for number in copied.split(",") if number.isdecimal()]
        if named and max(named) >= layers:
            sentences.append(
                f"--init {spec.init} names layer {max(named)}, and {has}: name 0 to {layers - 1}"
            )
        reached = _reached(spec.mapping)
        if reached > layers:
            sentences.append(
                f"--mapping {spec.mapping} reaches state {reached}, and {has}: name 0 to {layers}"
            )
    if sentences:
        raise NotReady(list(dict.fromkeys(sentences)))


def _reached(mapping: str) -> int:
    """Return the highest teacher state in a mapping: 10 for top10, 4 for 0:0,1:4; 0 if it contains no number."""
    return max((int(number) for number in re.findall(r"(?:^top|:)(\d+)", mapping)), default=0)


def check_flags_of(jobs: Sequence[Job]) -> None:
    """Raise NotReady if fairseq-train does not accept a flag, or its value.

    Takes seconds, because fairseq is imported. Finished jobs and jobs without flags of the user are not checked.
    """
    asked: dict[tuple, Job] = {}
    for job in jobs:
        if job.spec.flags and read_result(job.folder) is None:
            asked.setdefault(_kind(job.spec), job)
    if not asked:
        return
    refusals = [refusal.rstrip(".") for refusal in _refusals(list(asked.values()))]
    if problems := list(dict.fromkeys(filter(None, refusals))):
        raise NotReady(problems)


def _kind(spec: RunSpec) -> tuple:
    """Return the part of a run that decides which flags it accepts; other fields are set by the launcher."""
    return spec.criterion, spec.stage, spec.flags


def _refusals(jobs: Sequence[Job]) -> list[str]:
    """Return a sentence or '' for each job; empty if the check itself fails, because the runs then report errors."""
    program = [find_python(jobs[0].trainer), "-m", "fairseq_kd.tasks.check_flags"]
    lines = json.dumps([train_command(job)[1:] for job in jobs])
    environment = importing_project()
    try:
        done = subprocess.run(
            program, env=environment, input=lines, capture_output=True, text=True, check=True
        )
        return json.loads(done.stdout)
    except (OSError, subprocess.CalledProcessError, ValueError):
        return []


def unused_flags(given: Collection[str], grid: Grid, jobs: Sequence[Job], makes_teachers: bool) -> list[str]:
    """Return the flags without effect.

    given           names of the settings in the command line or the grid file
    makes_teachers  whether the jobs train teachers, too
    """
    stages = {job.spec.stage for job in jobs}
    used = {
        "mapping": grid.kind != METHOD or any(job.spec.mapping for job in jobs),
        "stage": "two" not in grid.stages or SECOND in stages,
        **dict.fromkeys(("stage1_epochs", "stage2_from"), FIRST in stages),
        "teacher": grid.needs_teacher,
        "teacher_cache": any(map(uses_cache, jobs)),
        **dict.fromkeys(("teacher_epochs", "teacher_batch_size", "teacher_lr"), makes_teachers),
    }
    passed = {name for job in jobs for name, _ in grouped(job.spec.flags)}
    own = [f"--{name.replace('_', '-')}" for name in used if name in given and not used[name]]
    return [*own, *dict.fromkeys(name for name, _ in grouped(grid.flags) if name not in passed)]
