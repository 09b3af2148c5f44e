"""Checks the layers and flags of planned runs before training, and finds flags without effect."""

import json
import re
import subprocess
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from .execution.command import train_command, uses_cache
from .overrides import grouped, value_of
from .paths import find_python, importing_project
from .planning.expand import METHOD, Grid
from .planning.job import Job
from .planning.prerequisites import NotReady
from .planning.run_spec import FIRST, SECOND, RunSpec
from .plugin import ask
from .results.outcome import read_result


def too_deep(runs: Sequence[RunSpec], models: Mapping[str, Path], trainer: str) -> list[str]:
    """Return a sentence for each model that cannot be read, or each --init and --mapping that names layers it lacks.

    models   by task: the teacher, or the model that it is made of
    trainer  the fairseq-train whose Python reads the models
    """
    _, found = ask(trainer, set(models.values()))
    problems = [each["problem"].rstrip(".") for each in found.values() if "problem" in each]
    if problems:
        return problems
    sentences = []
    for spec in runs:
        if spec.task not in models or spec.start:
            continue
        model = models[spec.task]
        layers = found[model]["layers"]
        has = f"{model} has {layers} layers"
        # Of another model, where --init-from names one.
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
    return list(dict.fromkeys(sentences))


def _reached(mapping: str) -> int:
    """The highest teacher state that a mapping names: of top10 10, of 0:0,1:4 4; 0 where it names none."""
    return max((int(number) for number in re.findall(r"(?:^top|:)(\d+)", mapping)), default=0)


def check_flags_of(jobs: Sequence[Job]) -> None:
    """NotReady says which flag it does not take, or which value.

    Takes seconds, for it has to import fairseq. Jobs that are finished, or without flags of the user's, are not
    asked about.
    """
    asked: dict[tuple, Job] = {}
    for job in jobs:
        if job.spec.flags and read_result(job.folder) is None:
            asked.setdefault(_kind(job.spec), job)
    if not asked:
        return
    refusals = [refusal.rstrip(".") for refusal in _refusals(list(asked.values()))]
    if told := list(dict.fromkeys(filter(None, refusals))):
        raise NotReady(told)


def _kind(spec: RunSpec) -> tuple:
    """Runs of which this is the same differ by values that the launcher gives."""
    return spec.criterion, spec.stage, spec.flags


def _refusals(jobs: Sequence[Job]) -> list[str]:
    """Sentences of the trainer's Python; none where it cannot tell, since the runs then do."""
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

    given           names of the settings that the command line or the grid file gives
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
