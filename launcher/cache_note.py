"""Computes whether a teacher cache would save time, and what it would store, for a note in the plan."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace

from .execution.command import learns_from_teacher, train_arguments
from .planning.job import Job
from .plugin import find_python, run_module
from .results.runs import read_result

# Below this number of sentences that a cache would spare the teacher, no note is printed: it takes seconds to compute.
WORTHWHILE = 50_000


def cache_note(jobs: Sequence[Job]) -> str:
    """Return a sentence that suggests --teacher-cache, with its size; empty if it saves little or does not fit the disk.

    Finished runs, runs with a cache, and runs whose teacher does not exist yet are not counted.
    """
    live = [
        job
        for job in jobs
        if job.cache is None
        and learns_from_teacher(job)
        and job.teacher.is_file()
        and read_result(job.folder) is None
    ]
    kinds = {_kind(job): job for job in live}
    passes = sum(job.spec.epochs for job in live)
    saved = sum(job.spec.epochs * _sentences(job) for job in live) - sum(map(_sentences, kinds.values()))
    if saved < WORTHWHILE:
        return ""

    # A first stage that is not trained yet cannot be read; the stored signals do not depend on it.
    commands = [train_arguments(replace(job, start=job.teacher)) for job in kinds.values()]
    try:
        sizes = run_module(find_python(live[0].trainer), "tasks.cache_sizes", text=json.dumps(commands))
    except ValueError:
        return ""  # the runs will report the error
    files = {
        (job.spec.task, name): size
        for job, of_job in zip(kinds.values(), sizes, strict=False)
        for name, size in of_job.items()
    }
    needed, folder = sum(files.values()), live[0].folder.absolute()
    existing = next(parent for parent in folder.parents if parent.exists())
    if not 0 < needed < shutil.disk_usage(existing).free:
        return ""
    return (
        f"--teacher-cache DIR would store {needed / 2**20:,.1f} MiB, and the teacher would compute {len(kinds)} times the "
        f"training data instead of {passes} times"
    )


def _sentences(job: Job) -> int:
    return job.data.training_sentences(job.spec.overrides)


def _kind(job: Job) -> tuple:
    """Return the settings that decide which signals a run stores."""
    spec = job.spec
    depth = spec.init if ":" in spec.init or spec.init == "all" else spec.init.count(",")
    return spec.task, spec.criterion, spec.stage, spec.mapping, depth, tuple(spec.overrides.items())
