"""Many runs: as many at once as there are slots, each after the one it depends on."""

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

# An exception that a signal raises can be lost, in a destructor say: what it asked for is looked up as well.
_asked_to_end = threading.Event()
SECONDS_BETWEEN_LOOKS = 1.0
SECONDS_BETWEEN_VISITS = 5.0  # to a run that another launcher has

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
    """Trains all jobs; one that fails stops only what starts from it.

    One that another launcher has is looked at again, in case it has ended there, for as long as there is anything else
    to do or anything that starts from it; then it is left to that launcher.

    train   trains one job in a slot
    report  is told as each ends
    slots   one job at a time in each
    stop    ends the programs that run, on KeyboardInterrupt
    """

    def guarded(job: Job, slot: Slot) -> Outcome:
        try:
            return train(job, slot)
        except OSError as error:  # a full disk, a folder that may not be written
            return Outcome(None, f"{type(error).__name__}: {error}")

    waiting, free = list(jobs), list(slots)
    running: dict[Future[Outcome], tuple[Job, Slot]] = {}
    ended: dict[str, Outcome] = {}
    held: dict[str, tuple[Outcome, float]] = {}  # by another launcher, and when it is looked at again

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
    """Those that have ended, after a while at the most."""
    if running:
        return wait(running, SECONDS_BETWEEN_LOOKS, return_when=FIRST_COMPLETED).done
    time.sleep(SECONDS_BETWEEN_LOOKS)
    return set()


def say_interrupted() -> int:
    """Of a program that was; its exit status."""
    print("Interrupted: the same command goes on from here.", file=sys.stderr)
    return INTERRUPTED


@contextlib.contextmanager
def ending_as_interrupted() -> Iterator[None]:
    """Lets SIGTERM and a closed terminal, like Ctrl-C, stop the children before the program ends.

    What is ignored stays ignored, by the children too: SIGHUP under `nohup`, Ctrl-C in a script's background.
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
    """Trains; KeyboardInterrupt, whatever the signal, once its programs have ended."""
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
    """Says what went wrong, if anything did; the model may be there all the same (`outcome.result`)."""
    if outcome.result is None:
        print(f"Training {'skipped' if outcome.skipped else 'failed'}: {outcome.problem}", file=sys.stderr)
    elif outcome.note:
        print(outcome.note, file=sys.stderr)
