"""Finds flags that have no effect, because no run of the grid uses them."""

from collections.abc import Collection, Sequence

from .flags import grouped
from .job import Job
from .plan import METHOD, Grid
from .spec import FIRST, SECOND


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
        "teacher_cache": any("--teacher-cache" in job.command for job in jobs),
        **dict.fromkeys(("teacher_epochs", "teacher_batch_size", "teacher_lr"), makes_teachers),
    }
    passed = {name for job in jobs for name, _ in grouped(job.spec.flags)}
    own = [f"--{name.replace('_', '-')}" for name in used if name in given and not used[name]]
    return [*own, *dict.fromkeys(name for name, _ in grouped(grid.flags) if name not in passed)]
