"""Several processes over one list of pieces."""

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
from .plan import Piece

Work = Callable[[Piece], int]

_work: Work  # of a worker process


def run(pieces: list[Piece], work: Work, workers: int) -> Iterator[int]:
    """Does `work` on every piece, in any order; yields what it returns as pieces are done."""
    if min(workers, len(pieces)) <= 1:
        return map(work, pieces)

    # Forked processes have the encoder already; spawned ones are sent it. All begin here, before any thread does.
    context = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    pool = ProcessPoolExecutor(min(workers, len(pieces)), context, _begin, (work,))
    return _results(pool, [pool.submit(_do, piece) for piece in pieces])


def _results(pool: ProcessPoolExecutor, futures: list[Future]) -> Iterator[int]:
    try:
        for done in as_completed(futures):
            yield done.result()
    except BrokenProcessPool:
        raise DataError(
            "--workers: a process was killed, perhaps for want of memory: run again to go on from the pieces "
            "that are done, with fewer --workers."
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)  # waits for pieces that are under way


def _begin(work: Work) -> None:
    global _work
    _work = work
    # Each process encodes with one thread; a forked one must not use the Rust library's threads at all.
    os.environ |= {"TOKENIZERS_PARALLELISM": "false", "RAYON_NUM_THREADS": "1"}
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to deal with
    gc.disable()  # many short lists, none in a cycle
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _do(piece: Piece) -> int:
    return _work(piece)


def _end_with_parent() -> None:
    """Ends this process when its parent is gone, even by kill -9, which leaves no time to say so."""
    wait([multiprocessing.parent_process().sentinel])
    os._exit(1)
