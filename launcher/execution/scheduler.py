"""Trains jobs on this machine, one in each slot, each job after the jobs that it depends on."""

import contextlib
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any

from ..planning.job import Job
from ..results.runs import Outcome
from .slots import STOPPING, Processes, Slot
from .worker import Worker

# An exception from a signal handler can be lost, for example in a destructor, so this event is checked as well.
_asked_to_end = threading.Event()
SECONDS_BETWEEN_LOOKS = 1.0

INTERRUPTED = 130  # exit status


class LocalExecutor:
    """Trains jobs in a fixed set of slots; all methods are called from one thread.

    Jobs that outlive this program are submitted by `submit_grid.py`.

    retries  how often a failed run is resumed
    begin    called with each job when its run is locked
    """

    def __init__(
        self, slots: Sequence[Slot], retries: int = 0, begin: Callable[[Job], None] = lambda job: None
    ) -> None:
        self.begin, self.processes = begin, Processes()
        self.free = [Worker(slot, self.processes, retries, len(slots)) for slot in slots]
        self.threads = ThreadPoolExecutor(len(slots))

    def has_capacity(self) -> bool:
        """Return whether a slot is free."""
        return bool(self.free)

    def submit(self, job: Job) -> Future[Outcome]:
        """Train a job in a free slot; the future returns its outcome, also of a failed run, and raises nothing."""
        return self.threads.submit(self._train, job, self.free.pop(0))

    def stop(self) -> None:
        """Terminate all trainings; their futures end."""
        self.processes.stop()

    def _train(self, job: Job, worker: Worker) -> Outcome:
        try:
            return worker.train(job, lambda: self.begin(job))
        except OSError as error:  # a full disk, a folder that may not be written
            return Outcome(None, f"{type(error).__name__}: {error}")
        finally:
            self.free.append(worker)


def run_jobs(jobs: Sequence[Job], executor: LocalExecutor, report: Callable[[Job, Outcome], None]) -> None:
    """Train all jobs; a job without a result stops only the jobs that depend on it.

    After KeyboardInterrupt, all running jobs are terminated.

    report  called when a job ends
    """
    waiting = list(jobs)
    running: dict[Future[Outcome], Job] = {}
    ended: dict[str, Outcome] = {}

    def end(job: Job, outcome: Outcome) -> None:
        ended[job.name] = outcome
        report(job, outcome)

    def can_start(job: Job) -> bool:
        return ended.keys() >= set(job.after)

    try:
        while waiting or running:
            job = next(filter(can_start, waiting), None)
            failed = next((name for name in job.after if ended[name].result is None), None) if job else None
            if failed is not None:
                waiting.remove(job)
                end(job, Outcome(None, f"not started because {job.role(failed)} has no result: {failed}"))
            elif job is not None and executor.has_capacity():
                waiting.remove(job)
                running[executor.submit(job)] = job
            else:
                done = wait(running, SECONDS_BETWEEN_LOOKS, return_when=FIRST_COMPLETED).done
                if _asked_to_end.is_set():
                    raise KeyboardInterrupt
                for future in done:
                    end(running.pop(future), future.result())
    except KeyboardInterrupt:
        executor.stop()
        wait(running)
        raise


def say_interrupted() -> int:
    """Print that the program was interrupted; return the exit status."""
    print("Interrupted: the same command continues from here.", file=sys.stderr)
    return INTERRUPTED


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Raise KeyboardInterrupt on SIGTERM and SIGHUP too, so that child processes are stopped before the program ends.

    Ignored signals stay ignored, also by child processes: SIGHUP under `nohup`, Ctrl-C in a script's background.
    """

    def interrupt(*_: Any) -> None:
        _asked_to_end.set()
        raise KeyboardInterrupt

    handled = [number for number in STOPPING if signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, interrupt) for number in handled}
    _asked_to_end.clear()
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def run_alone(job: Job, slot: Slot) -> Outcome:
    """Train one job; raise KeyboardInterrupt after any stop signal, when its processes have ended."""
    outcomes: list[Outcome] = []
    with interruptible():
        run_jobs([job], LocalExecutor([slot]), lambda _, outcome: outcomes.append(outcome))
    [outcome] = outcomes
    return outcome
