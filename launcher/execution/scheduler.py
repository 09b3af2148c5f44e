"""Shows jobs, or trains them on this machine: one in each slot, each after the jobs that it depends on."""

import contextlib
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

from ..planning.job import Job
from ..results.progress import Progress, say, summary
from ..results.runs import Outcome, read_result
from ..results.table import print_table
from .command import predict_command, shell_line, train_command
from .slots import STOPPING, Processes, Slot
from .worker import Worker

# An exception from a signal handler can be lost, for example in a destructor, so this event is checked as well.
_asked_to_end = threading.Event()
SECONDS_BETWEEN_LOOKS = 1.0

FAILED, INTERRUPTED = 1, 130  # exit status


def show(jobs: Sequence[Job], slot: Slot, how: str) -> None:
    """Print the plan and every command.

    how  the jobs are executed, such as "2 at a time"
    """
    for job in jobs:
        finished = read_result(job.folder) is not None
        print(f"# {job.name}{'  (finished)' if finished else ''}")
        for command in (train_command(job), *([predict_command(job)] if job.predicts else [])):
            print(shell_line(command, slot))
    print(f"# {_count(jobs)} in {_places(jobs)}, {how}")


def run_grid(jobs: Sequence[Job], slots: Sequence[Slot], retries: int, folder: Path) -> int:
    """Train the unfinished jobs, print the table and write it to `folder`; return the exit status."""
    progress = Progress(jobs)
    say(
        f"{_count(jobs)}, each with its log.txt in its own folder, in {_places(jobs)}, {len(slots)} at a time"
    )
    interrupted = False
    with interruptible(), progress.showing():
        try:
            run_jobs(jobs, slots, progress.end, retries, progress.begin)
        except KeyboardInterrupt:
            interrupted = True

    written = print_table(jobs, folder)
    for line in summary(progress.ended):
        say(line)
    if interrupted:
        return say_interrupted()
    well = all(outcome.well for outcome in progress.ended.values())
    return 0 if well and written else FAILED


def run_jobs(
    jobs: Sequence[Job],
    slots: Sequence[Slot],
    report: Callable[[Job, Outcome], None],
    retries: int = 0,
    begin: Callable[[Job], None] = lambda job: None,
) -> None:
    """Train all jobs; a job without a result stops only the jobs that depend on it.

    After any exception, such as KeyboardInterrupt, all running jobs are terminated.

    report   called when a job ends
    retries  how often a failed run is resumed
    begin    called with each job when its run is locked, from a thread
    """
    processes = Processes()
    free = [Worker(slot, processes, retries, len(slots)) for slot in slots]
    waiting = list(jobs)
    running: dict[Future[Outcome], tuple[Job, Worker]] = {}
    ended: dict[str, Outcome] = {}

    def train(job: Job, worker: Worker) -> Outcome:
        try:
            return worker.train(job, lambda: begin(job))
        except OSError as error:  # a full disk, a folder that may not be written
            return Outcome(None, f"{type(error).__name__}: {error}")

    def end(job: Job, outcome: Outcome) -> None:
        ended[job.name] = outcome
        report(job, outcome)

    with ThreadPoolExecutor(len(slots)) as threads:  # waits for its threads at the end
        try:
            while waiting or running:
                job = next((job for job in waiting if ended.keys() >= set(job.after)), None)
                failed = (
                    next((name for name in job.after if ended[name].result is None), None) if job else None
                )
                if failed is not None:
                    waiting.remove(job)
                    end(job, Outcome(None, f"not started because {job.role(failed)} has no result: {failed}"))
                elif job is not None and free:
                    waiting.remove(job)
                    worker = free.pop(0)
                    running[threads.submit(train, job, worker)] = job, worker
                else:
                    done = wait(running, SECONDS_BETWEEN_LOOKS, return_when=FIRST_COMPLETED).done
                    if _asked_to_end.is_set():
                        raise KeyboardInterrupt
                    for future in done:
                        job, worker = running.pop(future)
                        free.append(worker)
                        end(job, future.result())
        except BaseException:
            processes.stop()
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
        run_jobs([job], [slot], lambda _, outcome: outcomes.append(outcome))
    [outcome] = outcomes
    return outcome


def _places(jobs: Sequence[Job]) -> str:
    """Return the parent folders of all jobs: the group, and the folder of teachers."""
    return " and ".join(dict.fromkeys(str(job.folder.parent) for job in jobs))


def _count(jobs: Sequence[Job]) -> str:
    teachers = sum(job.is_teacher for job in jobs)
    counts = {"teacher": teachers, "run": len(jobs) - teachers}
    return " and ".join(f"{number} {name}{'s' * (number != 1)}" for name, number in counts.items() if number)
