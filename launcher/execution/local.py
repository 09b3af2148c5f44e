"""Trains jobs on this machine, one in each slot."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from ..planning.job import Job
from ..results.runs import Outcome
from .scheduler import interruptible, run_jobs
from .slots import Processes, Slot
from .worker import Worker


class LocalExecutor:
    """An `Executor` (see `scheduler.py`) with a fixed set of slots.

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
        """Train a job in a free slot."""
        return self.threads.submit(self._train, job, self.free.pop(0))

    def stop(self) -> None:
        """Terminate all trainings."""
        self.processes.stop()

    def _train(self, job: Job, worker: Worker) -> Outcome:
        try:
            return worker.train(job, lambda: self.begin(job))
        except OSError as error:  # a full disk, a folder that may not be written
            return Outcome(None, f"{type(error).__name__}: {error}")
        finally:
            self.free.append(worker)


def run_alone(job: Job, slot: Slot) -> Outcome:
    """Train one job; raise KeyboardInterrupt after any stop signal, when its processes have ended."""
    outcomes: list[Outcome] = []
    with interruptible():
        run_jobs([job], LocalExecutor([slot]), lambda _, outcome: outcomes.append(outcome))
    [outcome] = outcomes
    return outcome
