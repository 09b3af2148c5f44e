import os
import signal
from concurrent.futures import Future
from dataclasses import dataclass, field

import pytest

from launcher.execution import scheduler
from launcher.results.runs import Outcome

DONE, FAILED = Outcome({"best": 1}), Outcome(None, "exit status 1")


@dataclass(frozen=True)
class FakeJob:
    name: str
    after: tuple[str, ...] = ()

    def role(self, name: str) -> str:
        return "its teacher"


@dataclass
class FakeExecutor:
    """An executor whose jobs have ended when they are submitted."""

    outcomes: dict[str, Outcome]
    submitted: list[str] = field(default_factory=list)
    stopped: bool = False

    def has_capacity(self) -> bool:
        return True

    def submit(self, job: FakeJob) -> Future[Outcome]:
        self.submitted.append(job.name)
        future: Future[Outcome] = Future()
        future.set_result(self.outcomes[job.name])
        return future

    def stop(self) -> None:
        self.stopped = True


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(scheduler, "SECONDS_BETWEEN_LOOKS", 0.01)


def run(jobs, executor) -> dict[str, Outcome]:
    ended: dict[str, Outcome] = {}
    scheduler.run_jobs(jobs, executor, lambda job, outcome: ended.update({job.name: outcome}))
    return ended


def test_a_job_starts_after_those_it_depends_on_and_not_after_a_failure():
    jobs = [FakeJob("b", after=("a",)), FakeJob("a"), FakeJob("d", after=("c",)), FakeJob("c")]
    executor = FakeExecutor({"a": DONE, "b": DONE, "c": FAILED, "d": DONE})
    ended = run(jobs, executor)
    assert executor.submitted == ["a", "c", "b"]
    assert {name: ended[name] for name in "abc"} == {"a": DONE, "b": DONE, "c": FAILED}
    assert ended["d"].problem == "not started because its teacher has no result: c"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_whose_exception_is_lost_still_stops_the_jobs(number, monkeypatch):
    future: Future[Outcome] = Future()

    class Endless(FakeExecutor):
        def submit(self, job: FakeJob) -> Future[Outcome]:
            return future

        def stop(self) -> None:
            future.set_result(FAILED)

    def interrupt_and_lose_it(*arguments, **options):
        monkeypatch.setattr(scheduler, "wait", real)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
        return real(*arguments, **options)

    real = scheduler.wait
    monkeypatch.setattr(scheduler, "wait", interrupt_and_lose_it)
    with scheduler.interruptible(), pytest.raises(KeyboardInterrupt):
        run([FakeJob("a")], Endless({}))
    assert future.done()
