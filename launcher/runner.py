"""Many runs: as many at once as there are slots, each after the one it depends on."""

import contextlib
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

from .job import Job
from .programs import STOPPING
from .slots import Slot
from .train import Outcome

# An exception that a signal raises can be lost, in a destructor say: what it asked for is looked up as well.
_asked_to_end = threading.Event()
SECONDS_BETWEEN_LOOKS = 1.0

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
    """Trains all jobs; one that fails, or that another launcher has, stops only what starts from it.

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

    def end(job: Job, outcome: Outcome) -> None:
        ended[job.name] = outcome
        report(job, outcome)

    with ThreadPoolExecutor(len(slots)) as pool:
        try:
            while waiting or running:
                job = next((job for job in waiting if ended.keys() >= set(job.after)), None)
                lacking = (
                    next((name for name in job.after if ended[name].result is None), None) if job else None
                )
                if lacking is not None:
                    waiting.remove(job)
                    end(job, _not_started(job, lacking, held=ended[lacking].skipped))
                elif job is not None and free:
                    waiting.remove(job)
                    slot = free.pop(0)
                    running[pool.submit(guarded, job, slot)] = job, slot
                else:
                    done = wait(running, SECONDS_BETWEEN_LOOKS, return_when=FIRST_COMPLETED).done
                    if _asked_to_end.is_set():
                        raise KeyboardInterrupt
                    for future in done:
                        job, slot = running.pop(future)
                        free.append(slot)
                        end(job, future.result())
        except KeyboardInterrupt:
            stop()
            raise


def _not_started(job: Job, lacking: str, held: bool) -> Outcome:
    """Of a job that starts from one without a result; held: because another launcher has that one."""
    role = job.role(lacking)
    why = f"another launcher is training {role}" if held else f"{role} failed"
    return Outcome(None, f"not started because {why}: {lacking}", skipped=held)


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
