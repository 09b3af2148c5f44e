"""Shows the progress of encoding: bytes, rate and remaining time."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta

from .plan import MIB

INTERVAL = 30  # minimum seconds between two lines


def show_progress(sizes: Iterable[int], total: int, done: int) -> Iterator[int]:
    """Yield `sizes` (bytes) and show the progress: a bar on a terminal, otherwise a line every INTERVAL seconds."""
    with _bar(total, done) if sys.stderr.isatty() else _lines(total, done) as advance:
        for size in sizes:
            advance(size)
            yield size


@contextmanager
def _bar(total: int, done: int) -> Iterator[Callable[[int], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
    from rich.progress import TransferSpeedColumn as RateColumn

    columns = [TextColumn("encoding"), BarColumn(), DownloadColumn(), RateColumn(), TimeRemainingColumn()]
    with Progress(*columns, console=Console(stderr=True), speed_estimate_period=300) as progress:
        task = progress.add_task("", total=total, completed=done)
        yield lambda size: progress.advance(task, size)


@contextmanager
def _lines(total: int, done: int) -> Iterator[Callable[[int], None]]:
    started = last = time.monotonic()
    encoded = 0

    def advance(size: int) -> None:
        nonlocal encoded, last
        encoded += size
        now = time.monotonic()
        if now - last >= INTERVAL:
            last = now
            rate = encoded / (now - started)
            left = timedelta(seconds=round((total - done - encoded) / rate))
            print(
                f"encoding: {(done + encoded) / MIB:,.1f} of {total / MIB:,.1f} MiB, {rate / MIB:.2f} MiB/s, {left} left",
                file=sys.stderr,
                flush=True,
            )

    yield advance
