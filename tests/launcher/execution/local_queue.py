"""A queue without Slurm: each job is a process of submitit's local executor, which outlives the submission."""

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import submitit

from launcher.execution.slurm import Task

SECONDS = 60


@dataclass
class LocalQueue:
    """Has the methods of `Slurm`. A job starts when those have ended that it depends on; `submit` waits for them.

    submitted  ids, name and dependency of each array
    """

    folder: Path
    jobs: dict[str, submitit.Job | None] = field(default_factory=dict)
    submitted: list[tuple[list[str], str, str]] = field(default_factory=list)
    parameters: dict[str, Any] = field(default_factory=dict)  # of Slurm

    def submit(self, tasks: Sequence[Task], name: str, dependency: str = "") -> list[str]:
        executor = submitit.LocalExecutor(self.folder)
        array = str(len(self.submitted))
        ids = [f"{array}_{at}" for at in range(len(tasks))] if len(tasks) > 1 else [array]
        self.submitted.append((ids, name, dependency))
        for at, (id, task) in enumerate(zip(ids, tasks, strict=True)):
            needed = self._needed(dependency, at)
            for other in needed:
                self.wait(other)
            ready = all(self.succeeded(other) for other in needed)
            self.jobs[id] = executor.submit(task) if ready else None
        return ids

    def _needed(self, dependency: str, at: int) -> list[str]:
        alone = re.findall(r"(?<=:)\d+(?:_\d+)?", dependency.partition("aftercorr")[0])
        whole = [id for id in self.jobs for array in alone if id == array or id.startswith(f"{array}_")]
        return whole + [f"{array}_{at}" for array in re.findall(r"aftercorr:(\d+)", dependency)]

    def states(self) -> dict[str, str]:
        return {id: "running" for id, job in self.jobs.items() if job is not None and not job.done()}

    def cancel(self, ids: Sequence[str]) -> None:
        for id in ids:
            self.jobs[id].cancel()

    def succeeded(self, id: str) -> bool:
        job = self.jobs[id]
        return job is not None and job.paths.result_pickle.exists() and job.exception() is None

    def wait(self, *ids: str) -> None:
        """Wait for jobs; without ids, for all."""
        deadline = time.monotonic() + SECONDS
        while self.states().keys() & set(ids or self.jobs):
            assert time.monotonic() < deadline
            time.sleep(0.02)


def states_in(printed: str) -> dict[str, str]:
    """Return the states of the runs in a printed table, by name."""
    rows = [line.split() for line in printed.splitlines()[1:] if line.startswith("MRPC")]
    return {row[0]: row[1] for row in rows if not row[0].endswith(":")}


def only_child(pid: int) -> int:
    """Return the only child of a process."""
    stats = [path.read_text().rsplit(")", 1) for path in Path("/proc").glob("[0-9]*/stat")]
    [child] = [int(head.split()[0]) for head, tail in stats if int(tail.split()[1]) == pid]
    return child
