"""Encodes a list of pieces in several worker processes."""

import gc
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait

from ..errors import DataError
from .plan_pieces import Piece

Work = Callable[[Piece], int]

_work: Work  # set in each worker process


def run(pieces: list[Piece], work: Work, workers: int) -> Iterator[int]:
    """Apply `work` to every piece, in any order, and yield its results as they finish.

    Raises DataError if a worker process is killed.
    """
    if min(workers, len(pieces)) <= 1:
        return map(work, pieces)

    # Forked processes inherit the encoder; spawned ones receive a copy. All start before any thread.
    context = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    pool = ProcessPoolExecutor(min(workers, len(pieces)), context, _begin, (work,))
    return _results(pool, [pool.submit(_do, piece) for piece in pieces])


def _results(pool: ProcessPoolExecutor, futures: list[Future]) -> Iterator[int]:
    try:
        for done in as_completed(futures):
            yield done.result()
    except BrokenProcessPool:
        raise DataError(
            "--workers: a process was killed, perhaps because memory ran out: run again with fewer --workers to continue "
            "from the finished pieces."
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)  # waits for pieces in progress


def _begin(work: Work) -> None:
    global _work
    _work = work
    # Each process encodes with one thread; a forked process must not use the Rust library's threads.
    os.environ |= {"TOKENIZERS_PARALLELISM": "false", "RAYON_NUM_THREADS": "1"}
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent process handles Ctrl-C
    gc.disable()  # many short lists without cycles
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _do(piece: Piece) -> int:
    return _work(piece)


def _end_with_parent() -> None:
    """Exit when the parent process ends, even if it is killed by SIGKILL."""
    wait([multiprocessing.parent_process().sentinel])
    os._exit(1)
