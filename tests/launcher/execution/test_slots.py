import os
import subprocess
import sys

import pytest

from launcher.execution.slots import CPU_VARIABLES, Processes, Slot, make_slots, share, visible_gpus


@pytest.mark.parametrize(
    ("cores", "jobs", "shares"),
    [
        ([0, 1, 2, 3], 2, [(0, 1), (2, 3)]),
        ([0, 1, 2, 3, 4], 2, [(0, 1, 2), (3, 4)]),
        ([2, 5, 7], 3, [(2,), (5,), (7,)]),
        ([0, 1], 3, [(0,), (1,), (0,)]),
    ],
)
def test_cores_are_shared_out_in_neighbouring_sets(cores, jobs, shares):
    assert share(cores, jobs) == shares


def test_each_slot_on_a_cpu_has_cores_and_as_many_threads(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 1, 2}, raising=False)
    assert make_slots(2, []) == [Slot(cores=(1, 2), threads=2), Slot(cores=(3,), threads=1)]
    assert make_slots(1, []) == [Slot()]


def test_where_cores_cannot_be_told_apart_threads_are_shared_out(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    assert make_slots(3, []) == [Slot(threads=2)] * 3


def test_gpus_are_taken_in_turn():
    assert [slot.gpu for slot in make_slots(3, ["0", "4"])] == ["0", "4", "0"]
    assert [slot.gpu for slot in make_slots(3, list("01234"), gpus_per_run=2)] == ["0,1", "2,3", "0,1"]
    with pytest.raises(ValueError, match=r"--gpus-per-run 3 .*0,4"):
        make_slots(1, ["0", "4"], gpus_per_run=3)
    assert make_slots(1, ["0"])[0].cores == ()


def test_the_gpus_that_the_user_leaves_are_used(monkeypatch):
    for value, gpus in {
        "2, 5": ["2", "5"],
        "": [],
        "-1": [],
        "NoDevFiles": [],
        "1,-1,0": ["1"],
        "GPU-8f3a,MIG-GPU-1/2/0": ["GPU-8f3a", "MIG-GPU-1/2/0"],
    }.items():
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", value)
        assert visible_gpus() == gpus


def test_cpu_runs_get_the_variables_of_a_cpu_and_the_threads_of_their_slot(monkeypatch):
    for name in (*CPU_VARIABLES, "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)

    assert Slot().environment() == CPU_VARIABLES
    assert Slot(cores=(0, 1), threads=2).environment()["OMP_NUM_THREADS"] == "2"
    assert Slot(gpu="1").environment() == {"CUDA_VISIBLE_DEVICES": "1"}

    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    assert "OMP_NUM_THREADS" not in Slot(cores=(0, 1), threads=2).environment()


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


@pytest.mark.parametrize(("status", "gpus"), [(0, ["0", "1"]), (9, [])])
def test_without_the_variable_the_driver_lists_the_gpus(tmp_path, monkeypatch, status, gpus):
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\necho 'GPU 0: A'\necho 'GPU 1: B'\necho '  MIG 1g'\nexit {status}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert visible_gpus() == gpus
    program.unlink()
    assert visible_gpus() == []
