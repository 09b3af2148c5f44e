"""Whether fairseq-train takes the flags of runs, asked before anything is trained."""

import json
import subprocess
from collections.abc import Sequence

from .job import Job
from .places import find_python, importing_project
from .results import read_result
from .spec import RunSpec
from .supplies import NotReady


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
    refusals = [refusal.rstrip(".") for refusal in _refusals([job.command for job in asked.values()])]
    if told := list(dict.fromkeys(filter(None, refusals))):
        raise NotReady(told)


def _kind(spec: RunSpec) -> tuple:
    """Runs of which this is the same differ by values that the launcher gives."""
    return spec.criterion, spec.stage, spec.flags


def _refusals(commands: Sequence[Sequence[str]]) -> list[str]:
    """Sentences of the trainer's Python; none where it cannot tell, since the runs then do."""
    program = [find_python(commands[0][0]), "-m", "fairseq_kd.tasks.check_flags"]
    lines = json.dumps([command[1:] for command in commands])
    environment = importing_project()
    try:
        done = subprocess.run(
            program, env=environment, input=lines, capture_output=True, text=True, check=True
        )
        return json.loads(done.stdout)
    except (OSError, subprocess.CalledProcessError, ValueError):
        return []
