"""Shows progress while jobs run: a live display on a terminal, one line for each start and end otherwise."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta
from typing import NamedTuple

from rich import progress as bars
from rich.console import Console, RenderableType
from rich.live import Live

from ..models import LAST
from ..planning.job import Job
from .logs import updates_done
from .runs import Outcome, read_result

WHOLE_TRAINING = 1e9  # seconds over which the speed is averaged
MOST_NAMES = 10  # names of runs in one line of the summary


def say(line: str) -> None:
    """Print a line at once, also into a pipe."""
    print(line, flush=True)


class Progress:
    """Records which jobs run and have ended, and shows their updates."""

    def __init__(self, jobs: Sequence[Job], clock: Callable[[], float] = time.monotonic) -> None:
        self.bars = bars.Progress(
            bars.TextColumn("{task.description}"),
            bars.BarColumn(20),
            bars.MofNCompleteColumn(),
            bars.TimeRemainingColumn(),
            speed_estimate_period=WHOLE_TRAINING,
            get_time=clock,
        )
        self.jobs = jobs
        self.ended: dict[str, Outcome] = {}
        self.begun: dict[str, _Begun] = {}
        self.trained = 0  # updates of ended jobs
        unfinished = (job for job in jobs if read_result(job.folder) is None)
        self.overall = self.bars.add_task("", total=sum(job.updates for job in unfinished))
        # Protects all fields, because a separate thread draws the live display. Nothing is printed while the lock is
        # held, because printing waits for that thread.
        self.lock = threading.Lock()
        console = Console()
        self.is_live = console.is_terminal and not console.is_dumb_terminal

    def showing(self) -> AbstractContextManager:
        """Return a context in which the live display is shown, on a capable terminal."""
        if not self.is_live:
            return nullcontext()
        return Live(get_renderable=self.renderable, transient=True, refresh_per_second=1)

    def begin(self, job: Job) -> None:
        """Record a job whose run is locked."""
        if read_result(job.folder) is not None:
            return
        before = updates_done(job.folder / "log.txt") if (job.folder / LAST).is_file() else 0
        with self.lock:
            bar = self.bars.add_task(job.name, total=job.updates, completed=before)
            self.begun[job.name] = _Begun(job, bar, before)
            self._add_to_total(-before)
        if not self.is_live:
            say(f"{'start':>{self._width}} {job.name}")

    def end(self, job: Job, outcome: Outcome) -> None:
        """Record the outcome of a job, and print a line."""
        with self.lock:
            self.ended[job.name] = outcome
            begun = self.begun.pop(job.name, None)
            if begun is not None:
                self.bars.remove_task(begun.bar)
            if begun is not None and outcome.result is not None:
                self.trained += job.updates - begun.before
            elif begun is not None or outcome.result is None:  # its updates are not trained here
                self._add_to_total((begun.before if begun else 0) - job.updates)
            self._read_logs()
        seconds = self.seconds_left
        left = f"; {timedelta(seconds=round(seconds))} left" if seconds else ""
        say(
            f"{f'[{len(self.ended)}/{len(self.jobs)}]':>{self._width}} {job.name}: {format_outcome(outcome)}{left}"
        )

    def renderable(self) -> RenderableType:
        """Return the live display, with the updates that the logs contain now."""
        with self.lock:
            return self._render()

    def _render(self) -> RenderableType:
        self._read_logs()
        failed = sum(outcome.result is None for outcome in self.ended.values())
        waiting = len(self.jobs) - len(self.ended) - len(self.begun)
        counts = f"{len(self.ended)} ended ({failed} failed), {len(self.begun)} running, {waiting} waiting"
        self.bars.update(self.overall, description=counts)
        return self.bars.get_renderable()

    @property
    def seconds_left(self) -> float | None:
        """Seconds until all jobs have ended, at the average speed so far; None without a finished update."""
        overall = self.bars.tasks[0]
        return overall.elapsed * overall.remaining / overall.completed if overall.completed else None

    def _read_logs(self) -> None:
        trained = self.trained
        for job, bar, before in list(self.begun.values()):
            done = max(before, updates_done(job.folder / "log.txt"))
            self.bars.update(bar, completed=done)
            trained += done - before
        self.bars.update(self.overall, completed=trained)

    def _add_to_total(self, updates: int) -> None:
        self.bars.update(self.overall, total=self.bars.tasks[0].total + updates)

    @property
    def _width(self) -> int:
        return max(len("start"), 2 * len(str(len(self.jobs))) + 3)


class _Begun(NamedTuple):
    """A running job, its bar, and its updates before it began."""

    job: Job
    bar: bars.TaskID
    before: int


def format_outcome(outcome: Outcome) -> str:
    """Return the outcome of a run as text."""
    if outcome.result is None:
        return f"{'skipped' if outcome.skipped else 'FAILED'}, {outcome.problem}"
    score = f"{outcome.result['metric']} {outcome.result['best']:.4g}"
    took = ", finished before" if outcome.skipped else f" in {outcome.result['seconds']:.0f} s"
    return f"{score}{took}" + (f"; {outcome.note}" if outcome.note else "")


def summary(outcomes: Mapping[str, Outcome]) -> list[str]:
    """Return a line for each kind of outcome that needs attention, with the names of its runs."""
    kinds = {
        "without a result, see above": lambda end: end.result is None,
        "finished without predictions, which the same command makes": lambda end: bool(end.note),
    }
    lines = []
    for kind, is_one in kinds.items():
        names = [name for name, end in outcomes.items() if is_one(end)]
        more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
        if names:
            lines.append(f"{len(names)} {kind} ({', '.join(names[:MOST_NAMES])}{more})")
    return lines
