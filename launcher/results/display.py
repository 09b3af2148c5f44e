"""Displays progress: a live table on a terminal, log lines otherwise."""

import contextlib
import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager

from ..planning.job import Job
from .outcome import Outcome
from .progress import Progress, Snapshot, in_words

MOST_NAMES = 10  # in a line


def say(line: str) -> None:
    print(line, flush=True)


class Lines:
    """Prints a line when a run starts or ends, and one if another launcher trains it."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.total = len(progress.waiting)
        self.width = max(len("start"), len(f"[{self.total}/{self.total}]"))
        self.held: set[str] = set()

    def showing(self) -> AbstractContextManager:
        return contextlib.nullcontext()

    def start(self, job: Job) -> None:
        say(f"{'start':>{self.width}} {job.name}")

    def hold(self, job: Job) -> None:
        """Print the line once, however often the run is visited."""
        if job.name not in self.held:
            self.held.add(job.name)
            say(f"{'later':>{self.width}} {job.name}: another launcher is training it")

    def end(self, job: Job, outcome: Outcome) -> None:
        now = self.progress.snapshot()
        left = "" if now.left is None or now.ended == self.total else f"; {in_words(now.left)} left"
        say(f"{f'[{now.ended}/{self.total}]':>{self.width}} {job.name}: {told(outcome)}{left}")


class LiveTable(Lines):
    """Shows a table of running jobs, below a line for each job that has ended."""

    def showing(self) -> AbstractContextManager:
        from rich.live import Live

        return Live(get_renderable=lambda: running_table(self.progress.snapshot(), self.total), transient=True,
                    refresh_per_second=1)  # fmt: skip

    def start(self, job: Job) -> None:
        """Print nothing: the table contains the run."""


def display(progress: Progress) -> Lines:
    """Return the live table on a capable terminal, otherwise lines."""
    with contextlib.suppress(ImportError):
        from rich.console import Console

        if sys.stdout.isatty() and not Console().is_dumb_terminal:
            return LiveTable(progress)
    return Lines(progress)


def running_table(now: Snapshot, total: int):
    """Return a row for each running job, and a summary line."""
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.table import Table

    table = Table(box=None)
    table.add_column("run", overflow="fold")
    for name in ("", "updates", "time left"):
        table.add_column(name, justify="right", no_wrap=True)
    for run in now.running:
        bar = ProgressBar(total=run.job.updates, completed=run.done, width=20)
        table.add_row(run.job.name, bar, f"{run.done}/{run.job.updates}", in_words(run.left))

    done, waiting = now.ended - now.failed - now.held, total - now.ended - len(now.running)
    held = f"{now.held} left to another launcher, " if now.held else ""
    counts = f"{done} done, {now.failed} failed, {held}{len(now.running)} running, {waiting} waiting"
    return Group(table, f" {counts}; time left: {in_words(now.left)}")


def told(outcome: Outcome) -> str:
    """Format the outcome of a run."""
    if outcome.result is None:
        return f"{'skipped' if outcome.skipped else 'FAILED'}, {outcome.problem}"
    score = f"{outcome.result['metric']} {outcome.result['best']:.4g}"
    took = ", finished before" if outcome.skipped else f" in {outcome.result['seconds']:.0f} s"
    return f"{score}{took}" + (f"; {outcome.note}" if outcome.note else "")


def summary(outcomes: Mapping[str, Outcome]) -> list[str]:
    """Return a line for each kind of outcome that needs attention, with the names of its runs."""
    kinds = {
        "failed, as said above": lambda end: end.result is None and not end.held,
        "finished without predictions, which the same command makes": lambda end: bool(end.note),
        "being trained by another launcher: when that has ended, call this again for a table with them": (
            lambda end: end.held
        ),
    }
    lines = []
    for what, is_one in kinds.items():
        names = [name for name, end in outcomes.items() if is_one(end)]
        more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
        if names:
            lines.append(f"{len(names)} {what} ({', '.join(names[:MOST_NAMES])}{more})")
    return lines
