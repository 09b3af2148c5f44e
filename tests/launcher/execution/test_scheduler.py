"""Which job runs next, and how all jobs stop; the trainings themselves are in test_worker.py and test_experiments.py."""

import os
import signal
import threading
from dataclasses import dataclass

import pytest

from launcher.execution import scheduler
from launcher.execution.slots import Slot
from launcher.results.runs import Outcome

DONE, FAILED = Outcome({"best": 1}), Outcome(None, "exit status 1")


@dataclass(frozen=True)
class FakeJob:
    name: str
    after: tuple[str, ...] = ()

    def role(self, name: str) -> str:
        return "its teacher"


def run(jobs, train, monkeypatch) -> dict[str, Outcome]:
    """Train jobs in two slots with the function `train(job, processes)`; return their outcomes."""

    class FakeWorker:
        def __init__(self, slot, processes, *_):
            self.processes = processes

        def train(self, job, begin):
            return train(job, self.processes)

    ended: dict[str, Outcome] = {}
    monkeypatch.setattr(scheduler, "Worker", FakeWorker)
    monkeypatch.setattr(scheduler, "SECONDS_BETWEEN_LOOKS", 0.01)
    scheduler.run_jobs(jobs, [Slot(), Slot()], lambda job, outcome: ended.update({job.name: outcome}))
    return ended


def test_a_job_starts_after_those_it_depends_on_and_not_after_a_failure(monkeypatch):
    jobs = [FakeJob("b", after=("a",)), FakeJob("a"), FakeJob("d", after=("c",)), FakeJob("c")]
    trained = []

    def train(job, processes) -> Outcome:
        trained.append(job.name)
        if job.name == "a":
            raise OSError("No space left on device")
        return FAILED if job.name == "c" else DONE

    ended = run([*jobs, FakeJob("e")], train, monkeypatch)
    assert sorted(trained) == ["a", "c", "e"]
    assert ended["a"].problem == "OSError: No space left on device"
    assert (ended["c"], ended["e"]) == (FAILED, DONE)
    for name, failed in (("b", "a"), ("d", "c")):
        assert ended[name].problem == f"not started because its teacher has no result: {failed}"

    trained.clear()
    ended = run(jobs[:2], lambda job, _: trained.append(job.name) or DONE, monkeypatch)
    assert (trained, ended) == (["a", "b"], {"a": DONE, "b": DONE})


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_whose_exception_is_lost_still_stops_the_jobs(number, monkeypatch):
    stopped, real = threading.Event(), scheduler.wait
    monkeypatch.setattr(scheduler.Processes, "stop", lambda processes: stopped.set())

    def interrupt_and_lose_it(*arguments, **options):
        monkeypatch.setattr(scheduler, "wait", real)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
        return real(*arguments, **options)

    monkeypatch.setattr(scheduler, "wait", interrupt_and_lose_it)
    with scheduler.interruptible(), pytest.raises(KeyboardInterrupt):
        run([FakeJob("a")], lambda job, _: FAILED if stopped.wait(60) else DONE, monkeypatch)
    assert stopped.is_set()


def test_an_unexpected_exception_stops_the_other_jobs(monkeypatch):
    stopped = threading.Event()
    monkeypatch.setattr(scheduler.Processes, "stop", lambda processes: stopped.set())

    def train(job, processes) -> Outcome:
        if job.name == "a":
            raise RuntimeError("unexpected")
        return FAILED if stopped.wait(20) else DONE

    with scheduler.interruptible(), pytest.raises(RuntimeError, match="unexpected"):
        run([FakeJob("a"), FakeJob("b")], train, monkeypatch)
    assert stopped.is_set()
