import os
import subprocess
import sys

import pytest

from launcher.execution.devices import Slot
from launcher.execution.processes import Processes


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="this system pins no program to cores")
def test_a_program_runs_on_the_cores_of_its_slot(tmp_path):
    all_cores = os.sched_getaffinity(0)
    core = max(all_cores)
    code = "import os; print(sorted(os.sched_getaffinity(0)), os.environ['OMP_NUM_THREADS'])"
    try:
        with open(tmp_path / "out", "w") as sink, open(tmp_path / "lock", "w") as lock:
            slot = Slot(cores=(core,), threads=1)
            assert Processes().call([sys.executable, "-c", code], slot, sink, lock.fileno()) == 0
    finally:
        os.sched_setaffinity(0, all_cores)
    assert (tmp_path / "out").read_text() == f"[{core}] 1\n"


def test_nothing_starts_once_all_was_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr(subprocess, "Popen", None)
    processes = Processes()
    processes.stop()
    assert processes.call(["true"], Slot(), None, 0) == -15
