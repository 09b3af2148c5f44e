import os
import signal
from concurrent.futures import Future
from dataclasses import dataclass, field

import pytest

from launcher.execution import scheduler
from launcher.results.runs import Outcome

HELD = Outcome(None, "another launcher is training it", skipped=True)
DONE, FAILED = Outcome({"best": 1}), Outcome(None, "exit status 1")


@dataclass(frozen=True)
class FakeJob:
    name: str
    after: tuple[str, ...] = ()

    def role(self, name: str) -> str:
        return "its teacher"


@dataclass
class FakeExecutor:
    """An executor whose jobs have ended when they are submitted, each with the next of its outcomes."""

    outcomes: dict[str, list[Outcome]]
    submitted: list[str] = field(default_factory=list)
    stopped: bool = False

    def has_capacity(self) -> bool:
        return True

    def submit(self, job: FakeJob) -> Future[Outcome]:
        self.submitted.append(job.name)
        future: Future[Outcome] = Future()
        outcomes = self.outcomes[job.name]
        future.set_result(outcomes.pop(0) if len(outcomes) > 1 else outcomes[0])
        return future

    def stop(self) -> None:
        self.stopped = True


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    for name in ("SECONDS_BETWEEN_LOOKS", "SECONDS_BETWEEN_VISITS"):
        monkeypatch.setattr(scheduler, name, 0.01)


def run(jobs, executor) -> dict[str, Outcome]:
    ended: dict[str, Outcome] = {}
    scheduler.run_jobs(jobs, executor, lambda job, outcome: ended.update({job.name: outcome}))
    return ended


def test_a_job_starts_after_those_it_depends_on_and_not_after_a_failure():
    jobs = [FakeJob("b", after=("a",)), FakeJob("a"), FakeJob("d", after=("c",)), FakeJob("c")]
    executor = FakeExecutor({"a": [DONE], "b": [DONE], "c": [FAILED], "d": [DONE]})
    ended = run(jobs, executor)
    assert executor.submitted == ["a", "c", "b"]
    assert {name: ended[name] for name in "abc"} == {"a": DONE, "b": DONE, "c": FAILED}
    assert ended["d"].problem == "not started because its teacher failed: c"


def test_a_job_of_another_launcher_is_visited_again_while_a_job_depends_on_it_and_then_left():
    executor = FakeExecutor({"a": [HELD, HELD, DONE], "b": [DONE], "c": [HELD]})
    ended = run([FakeJob("a"), FakeJob("b", after=("a",)), FakeJob("c")], executor)
    assert ended == {"a": DONE, "b": DONE, "c": HELD}
    assert executor.submitted.count("a") == 3

    executor = FakeExecutor({"c": [HELD]})
    assert run([FakeJob("c")], executor) == {"c": HELD}
    assert executor.submitted == ["c"]


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
