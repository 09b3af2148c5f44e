import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from launcher.execution import scheduler
from launcher.results.outcome import Outcome


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_whose_exception_is_lost_still_ends_the_runs(number, monkeypatch):
    monkeypatch.setattr(scheduler, "SECONDS_BETWEEN_LOOKS", 0.01)
    stopped = threading.Event()
    job = type("OnlyJob", (), {"name": "only", "after": ()})()

    def train(*_):
        assert stopped.wait(20)

    def interrupt_and_lose_it(*arguments, **options):
        monkeypatch.setattr(scheduler, "wait", real)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
        return real(*arguments, **options)

    real = scheduler.wait
    monkeypatch.setattr(scheduler, "wait", interrupt_and_lose_it)
    with scheduler.ending_as_interrupted(), pytest.raises(KeyboardInterrupt):
        scheduler.run_all([job], train, lambda *_: None, [None], stopped.set)
    assert stopped.is_set()


def test_a_run_whose_launcher_died_is_taken_over_while_there_is_other_work(monkeypatch):
    for name in ("SECONDS_BETWEEN_LOOKS", "SECONDS_BETWEEN_VISITS"):
        monkeypatch.setattr(scheduler, name, 0.01)
    looked_at, outcomes = threading.Semaphore(0), {}

    def train(job, _) -> Outcome:
        if job.name == "own":
            for _ in range(3):
                assert looked_at.acquire(timeout=20)
            return Outcome({})
        looked_at.release()
        held.append(job.name)
        return (
            Outcome(None, "another launcher is training it", skipped=True) if len(held) < 3 else Outcome({})
        )

    held: list[str] = []
    jobs = [type("AJob", (), {"name": name, "after": ()})() for name in ("theirs", "own")]
    with scheduler.ending_as_interrupted():
        scheduler.run_all(
            jobs, train, lambda job, end: outcomes.update({job.name: end}), [None, None], lambda: None
        )
    assert held == ["theirs"] * 3
    assert outcomes == {"theirs": Outcome({}), "own": Outcome({})}


def test_a_platform_without_sighup_is_one():
    code = "import signal; del signal.SIGHUP\n"
    code += (
        "from launcher.execution import scheduler, train_run\nwith scheduler.ending_as_interrupted(): pass"
    )
    subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[3], check=True)
