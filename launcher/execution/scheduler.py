"""Schedules jobs on slots, each job after the jobs that it depends on."""

import contextlib
import signal
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

from ..planning.job import Job
from ..results.outcome import Outcome
from .devices import Slot
from .processes import STOPPING, Programs
from .train_run import train

# An exception from a signal handler can be lost, for example in a destructor, so this event is checked as well.
_asked_to_end = threading.Event()
SECONDS_BETWEEN_LOOKS = 1.0
SECONDS_BETWEEN_VISITS = 5.0  # to a run that another launcher trains

INTERRUPTED = 130  # exit status

Train = Callable[[Job, Slot], Outcome]
Report = Callable[[Job, Outcome], None]


def run_all(
    jobs: Sequence[Job],
    train: Train,
    report: Report,
    slots: Sequence[Slot],
    stop: Callable[[], None],
) -> None:
    """Train all jobs; a failed job stops only the jobs that depend on it.

    A job that another launcher trains is visited again while other jobs remain, or a job depends on it; then it is left
    to that launcher.

    train   trains one job in a slot
    report  is called when a job ends
    slots   devices, each for one job at a time
    stop    terminates the running processes, on KeyboardInterrupt
    """

    def guarded(job: Job, slot: Slot) -> Outcome:
        try:
            return train(job, slot)
        except OSError as error:  # a full disk, a folder that may not be written
            return Outcome(None, f"{type(error).__name__}: {error}")

    waiting, free = list(jobs), list(slots)
    running: dict[Future[Outcome], tuple[Job, Slot]] = {}
    ended: dict[str, Outcome] = {}
    held: dict[str, tuple[Outcome, float]] = {}  # trained by another launcher, and the time of the next visit

    def end(job: Job, outcome: Outcome) -> None:
        ended[job.name] = outcome
        report(job, outcome)

    def due(job: Job) -> bool:
        return ended.keys() >= set(job.after) and (
            job.name not in held or held[job.name][1] <= time.monotonic()
        )

    with ThreadPoolExecutor(len(slots)) as pool:
        try:
            while waiting or running:
                job = next(filter(due, waiting), None)
                lacking = (
                    next((name for name in job.after if ended[name].result is None), None) if job else None
                )
                if lacking is not None:
                    waiting.remove(job)
                    end(job, Outcome(None, f"not started because {job.role(lacking)} failed: {lacking}"))
                elif job is not None and free:
                    waiting.remove(job)
                    slot = free.pop(0)
                    running[pool.submit(guarded, job, slot)] = job, slot
                elif not running and all(job.name in held for job in waiting):
                    for job in waiting:
                        end(job, held[job.name][0])
                    waiting.clear()
                else:
                    done = _look(running)
                    if _asked_to_end.is_set():
                        raise KeyboardInterrupt
                    for future in done:
                        job, slot = running.pop(future)
                        free.append(slot)
                        outcome = future.result()
                        if outcome.held:
                            held[job.name] = outcome, time.monotonic() + SECONDS_BETWEEN_VISITS
                            waiting.append(job)
                        else:
                            end(job, outcome)
        except KeyboardInterrupt:
            stop()
            raise


def _look(running: Collection[Future[Outcome]]) -> set[Future[Outcome]]:
    """Return the jobs that have ended; wait for at most SECONDS_BETWEEN_LOOKS."""
    if running:
        return wait(running, SECONDS_BETWEEN_LOOKS, return_when=FIRST_COMPLETED).done
    time.sleep(SECONDS_BETWEEN_LOOKS)
    return set()


def say_interrupted() -> int:
    """Report the interruption; return the exit status."""
    print("Interrupted: the same command goes on from here.", file=sys.stderr)
    return INTERRUPTED


@contextlib.contextmanager
def ending_as_interrupted() -> Iterator[None]:
    """Raise KeyboardInterrupt on SIGTERM and SIGHUP too, so that child processes are stopped before the program ends.

    Ignored signals stay ignored, also by child processes: SIGHUP under `nohup`, Ctrl-C in a script's background.
    """

    def interrupt(*_) -> None:
        _asked_to_end.set()
        raise KeyboardInterrupt

    heeded = [number for number in STOPPING if signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, interrupt) for number in heeded}
    _asked_to_end.clear()
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def run_alone(job: Job, slot: Slot) -> Outcome:
    """Train one job; raise KeyboardInterrupt after any stop signal, when its processes have ended."""
    programs, outcomes = Programs(), list[Outcome]()
    with ending_as_interrupted():
        run_all(
            [job],
            lambda job, slot: train(job, slot, programs),
            lambda _, outcome: outcomes.append(outcome),
            [slot],
            programs.stop,
        )
    [outcome] = outcomes
    return outcome


def say_problem(outcome: Outcome) -> None:
    """Print the problem of an outcome, if any; the model may exist nevertheless (`outcome.result`)."""
    if outcome.result is None:
        print(f"Training {'skipped' if outcome.skipped else 'failed'}: {outcome.problem}", file=sys.stderr)
    elif outcome.note:
        print(outcome.note, file=sys.stderr)
