"""Tracks the progress of jobs, and estimates the remaining time."""

import heapq
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from ..planning.job import Job
from ..planning.run_spec import RunSpec
from .outcome import Outcome

UPDATES = re.compile(rb'"(?:\w+_)?num_updates": "(\d+)"')
TAIL = 1 << 14  # bytes at the end of a log that contain several counts of updates

Kind = tuple[str, str, str, int]  # task, method, stage, batch size


@dataclass(frozen=True)
class Pace:
    """A measured speed: `updates` of runs of one kind took `seconds`."""

    kind: Kind
    seconds: float
    updates: int


@dataclass(frozen=True)
class Running:
    """A running job, its finished updates and the estimated seconds left; None if unknown."""

    job: Job
    done: int
    left: float | None


@dataclass(frozen=True)
class Snapshot:
    """The state of all jobs.

    ended   includes `failed` and `held`, which another launcher trains
    left    seconds until all have ended
    """

    running: list[Running]
    ended: int
    failed: int
    left: float | None
    held: int = 0


class Progress:
    """Records which jobs wait, run and have ended."""

    def __init__(self, jobs: Sequence[Job], slots: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.slots, self.clock = slots, clock
        self.waiting = {job.name: job for job in jobs}
        self.begun: dict[str, tuple[Job, float, int]] = {}  # and when, and the updates there were
        self.ended: dict[str, Outcome] = {}
        self.paces: list[Pace] = []

    def start(self, job: Job) -> None:
        resumed = (job.folder / "checkpoint_last.pt").is_file()
        self.begun[job.name] = job, self.clock(), updates_done(job.folder / "log.txt") if resumed else 0
        del self.waiting[job.name]

    def end(self, job: Job, outcome: Outcome) -> None:
        self.ended[job.name] = outcome
        self.waiting.pop(job.name, None)
        self.begun.pop(job.name, None)
        if outcome.result is not None and not outcome.result.get("resumed"):
            self.paces.append(Pace(_kind(job.spec), outcome.result["seconds"], job.updates))

    def snapshot(self) -> Snapshot:
        now, begun = self.clock(), list(self.begun.values())
        done = [updates_done(job.folder / "log.txt") for job, _, _ in begun]
        own = [
            Pace(_kind(job.spec), now - since, updates - first)
            for (job, since, first), updates in zip(begun, done, strict=True)
        ]
        paces = [*self.paces, *own]

        @cache
        def usual(kind: Kind) -> float | None:
            return seconds_per_update(kind, paces)

        def seconds(job: Job, updates: int, *pace: Pace) -> float | None:
            each = seconds_per_update(_kind(job.spec), pace) or usual(_kind(job.spec))
            return None if each is None else max(0, job.updates - updates) * each

        running = [
            Running(job, min(updates, job.updates), seconds(job, updates, pace))
            for (job, _, _), updates, pace in zip(begun, done, own, strict=True)
        ]
        to_come = [seconds(job, 0) for job in list(self.waiting.values())]
        left = seconds_left([run.left for run in running], to_come, self.slots)
        without = [end for end in self.ended.values() if end.result is None]
        held = sum(end.held for end in without)
        return Snapshot(running, len(self.ended), len(without) - held, left, held)


def updates_done(log: Path) -> int:
    """Return the last number of updates in a fairseq log; 0 if it contains none."""
    try:
        with open(log, "rb") as file:
            file.seek(max(0, file.seek(0, 2) - TAIL))
            found = UPDATES.findall(file.read())
    except FileNotFoundError:
        return 0
    return int(found[-1]) if found else 0


def seconds_per_update(kind: Kind, paces: Sequence[Pace]) -> float | None:
    """Return the pace of that kind of run, or else of all runs; None without a measurement."""
    for chosen in ([pace for pace in paces if pace.kind == kind], paces):
        updates = sum(pace.updates for pace in chosen if pace.updates > 0)
        if updates:
            return sum(pace.seconds for pace in chosen if pace.updates > 0) / updates
    return None


def seconds_left(
    running: Sequence[float | None], to_come: Sequence[float | None], slots: int
) -> float | None:
    """Return the seconds until all runs have ended, each in the first free slot; None if one is unknown."""
    if None in running or None in to_come:
        return None
    free = [*running, *[0.0] * (slots - len(running))]
    heapq.heapify(free)
    for seconds in to_come:
        heapq.heapreplace(free, free[0] + seconds)
    return max(free)


def in_words(seconds: float | None) -> str:
    """Format a duration: 40 s, 12 min, 3 h 05 min."""
    if seconds is None:
        return "unknown"
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def _kind(spec: RunSpec) -> Kind:
    return spec.task, spec.method, spec.stage, spec.batch_size
