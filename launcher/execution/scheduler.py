"""Schedules jobs on an executor, each job after the jobs that it depends on."""

import contextlib
import signal
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import Any, Protocol

from ..planning.job import Job
from ..results.runs import Outcome
from .slots import STOPPING

# An exception from a signal handler can be lost, for example in a destructor, so this event is checked as well.
_asked_to_end = threading.Event()
SECONDS_BETWEEN_LOOKS = 1.0
SECONDS_BETWEEN_VISITS = 5.0  # before a job that another launcher trains is submitted again

INTERRUPTED = 130  # exit status


class Executor(Protocol):
    """Runs jobs, for example `local.LocalExecutor` in the slots of this machine.

    An executor for other machines, such as a cluster's queue, is one more file beside `local.py`. It calls
    `worker.Worker.train` on the machine that trains the job. All methods are called from one thread.
    """

    def has_capacity(self) -> bool:
        """Return whether one more job can be submitted now."""

    def submit(self, job: Job) -> Future[Outcome]:
        """Start a job; the future returns its outcome, also of a failed run, and raises nothing."""

    def stop(self) -> None:
        """Terminate all jobs that were submitted; their futures end."""


def run_jobs(
    jobs: Sequence[Job],
    executor: Executor,
    report: Callable[[Job, Outcome], None],
    report_held: Callable[[Job], None] = lambda job: None,
) -> None:
    """Train all jobs; a failed job stops only the jobs that depend on it.

    A job that another launcher trains is submitted again every few seconds, while other jobs remain or depend on it.
    After that, it is left to the other launcher. After KeyboardInterrupt, all running jobs are terminated.

    report       called when a job ends
    report_held  called each time that another launcher still trains a submitted job
    """
    waiting = list(jobs)
    running: dict[Future[Outcome], Job] = {}
    ended: dict[str, Outcome] = {}
    held: dict[str, tuple[Outcome, float]] = {}  # trained by another launcher, and when to submit them again

    def end(job: Job, outcome: Outcome) -> None:
        ended[job.name] = outcome
        report(job, outcome)

    def can_start(job: Job) -> bool:
        visited = job.name not in held or held[job.name][1] <= time.monotonic()
        return visited and ended.keys() >= set(job.after)

    try:
        while waiting or running:
            job = next(filter(can_start, waiting), None)
            failed = next((name for name in job.after if ended[name].result is None), None) if job else None
            if failed is not None:
                waiting.remove(job)
                end(job, Outcome(None, f"not started because {job.role(failed)} failed: {failed}"))
            elif job is not None and executor.has_capacity():
                waiting.remove(job)
                running[executor.submit(job)] = job
            elif not running and all(job.name in held for job in waiting):
                for job in waiting:
                    end(job, held[job.name][0])
                waiting.clear()
            else:
                done = _wait(running)
                if _asked_to_end.is_set():
                    raise KeyboardInterrupt
                for future in done:
                    job, outcome = running.pop(future), future.result()
                    if outcome.held:
                        held[job.name] = outcome, time.monotonic() + SECONDS_BETWEEN_VISITS
                        waiting.append(job)
                        report_held(job)
                    else:
                        end(job, outcome)
    except KeyboardInterrupt:
        executor.stop()
        wait(running)
        raise


def _wait(running: Collection[Future[Outcome]]) -> set[Future[Outcome]]:
    """Return the jobs that have ended; wait for at most SECONDS_BETWEEN_LOOKS."""
    if running:
        return wait(running, SECONDS_BETWEEN_LOOKS, return_when=FIRST_COMPLETED).done
    time.sleep(SECONDS_BETWEEN_LOOKS)
    return set()


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
