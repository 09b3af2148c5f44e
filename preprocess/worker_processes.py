"""Applies a function to a list of items in several worker processes."""

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait
from typing import Any

from .errors import DataError

Work = Callable[[Any], int]

_work: Work  # set in each worker process

# Forked processes inherit the work; spawned ones receive a copy.
START = "fork" if sys.platform == "linux" else "spawn"

KILLED = "--workers: a process was killed, perhaps because memory ran out: run again with fewer --workers to continue."


def run(items: Sequence[Any], work: Work, workers: int, start: str = START) -> Iterator[int]:
    """Apply `work` to every item, in any order, and yield its results as they finish.

    start  how processes are started: fork or spawn

    Raises DataError if a worker process is killed. After KeyboardInterrupt, only items in progress are finished.
    """
    workers = min(workers, len(items))
    if workers <= 1:
        return map(work, items)

    # All processes start before any thread, and ignore Ctrl-C from the first moment: the parent process handles it.
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context(start), _begin, (work,))
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        futures = [pool.submit(_do, item) for item in items]
    except BrokenProcessPool:
        raise DataError(KILLED) from None
    finally:
        signal.signal(signal.SIGINT, handler)
    return _results(pool, futures)


def _results(pool: ProcessPoolExecutor, futures: list[Future]) -> Iterator[int]:
    try:
        for done in as_completed(futures):
            yield done.result()
    except BrokenProcessPool:
        raise DataError(KILLED) from None
    finally:
        pool.shutdown(cancel_futures=True)  # waits for items in progress


def _begin(work: Work) -> None:
    global _work
    _work = work
    # Each process encodes with one thread; a forked process must not use the Rust library's threads.
    os.environ |= {"TOKENIZERS_PARALLELISM": "false", "RAYON_NUM_THREADS": "1"}
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _do(item: Any) -> int:
    return _work(item)


def _end_with_parent() -> None:
    """Exit when the parent process ends, even if it is killed by SIGKILL."""
    wait([multiprocessing.parent_process().sentinel])
    os._exit(1)
