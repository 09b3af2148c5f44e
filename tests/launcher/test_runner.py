import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from launcher import runner


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_whose_exception_is_lost_still_ends_the_runs(number, monkeypatch):
    monkeypatch.setattr(runner, "SECONDS_BETWEEN_LOOKS", 0.01)
    stopped = threading.Event()
    job = type("OnlyJob", (), {"name": "only", "after": ()})()

    def train(*_):
        assert stopped.wait(20)

    def interrupt_and_lose_it(*arguments, **options):
        monkeypatch.setattr(runner, "wait", real)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
        return real(*arguments, **options)

    real = runner.wait
    monkeypatch.setattr(runner, "wait", interrupt_and_lose_it)
    with runner.ending_as_interrupted(), pytest.raises(KeyboardInterrupt):
        runner.run_all([job], train, lambda *_: None, [None], stopped.set)
    assert stopped.is_set()


def test_a_platform_without_sighup_is_one():
    code = "import signal; del signal.SIGHUP; from launcher import runner, train\nwith runner.ending_as_interrupted(): pass"
    subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], check=True)
