"""experiments.py --launcher slurm on a real Slurm of one node, which the tests start; the trainer takes no time."""

import json
import subprocess

import pytest

import experiments
from tests.launcher.execution.local_queue import states_in
from tests.launcher.execution.slurm_cluster import is_idle, needs_slurm, output, slurm_cluster, wait_until
from tests.launcher.run_directories import results_in

pytestmark = [pytest.mark.slurm, pytest.mark.slow, needs_slurm]
KD = ["--method", "kd", "--seeds", "1"]
TWO_STAGES = ["--method", "att_kl_learn", "--seeds", "1,2"]


@pytest.fixture(scope="module")
def cluster():
    with slurm_cluster():
        yield


@pytest.fixture
def submit(cluster, call):
    def submit(*words: str) -> None:
        assert (
            experiments.main([*call, "--launcher", "slurm", "--slurm", "partition=low,time=30", *words]) == 0
        )

    return submit


def test_second_stages_follow_first_stages(submit, group, ask):
    submit(*TWO_STAGES, "--jobs", "1")
    wait_until(is_idle)
    found = results_in(group)
    assert sorted(result["best"] for result in found.values()) == [0.5, 0.5, 73, 74]
    started = {name: (group / name / "spec.json").stat().st_mtime for name in found}
    for name in found:
        first = json.loads((group / name / "spec.json").read_text())["after"]
        if first:
            assert started[name] > (group / first / "result.json").stat().st_mtime
    assert list(states_in(ask("status")).values()) == ["finished"] * 4


def test_a_preempted_run_and_one_near_its_time_limit_are_requeued_and_resume(submit, group, monkeypatch, ask):
    monkeypatch.setenv("FAKE_HANG", "2")
    monkeypatch.setenv("FAKE_HANGS", "once")
    submit("--method", "kd", "--seeds", "1,2")
    wait_until(lambda: len(list(group.glob("*/hanging"))) == 2)
    assert list(states_in(ask("status")).values()) == ["running"] * 2
    jobs = {path.parent.name: json.loads(path.read_text())["id"] for path in group.glob("*/job.json")}
    one = next(iter(jobs.values()))
    # Slurm sends this signal before the time limit.
    subprocess.run(["scancel", "--signal", "USR2", one], check=True)
    wait_until(lambda: f"{one} PENDING" in output("squeue", "--array", "--noheader", "--format", "%i %T"))
    high = ["sbatch", "--partition", "high", "--ntasks", "2", "--output", "/dev/null", "--wrap", "sleep 1"]
    subprocess.run(high, check=True, capture_output=True)
    wait_until(is_idle)

    results = results_in(group)
    assert sorted(result["best"] for result in results.values()) == [73, 74]
    assert all(result["resumed"] for result in results.values())
    logs = "".join(path.read_text() for path in group.glob("slurm/*_log.*"))
    assert f"Requeued job {one}" in logs
    assert "DUE TO PREEMPTION" in logs


def test_cancel_ends_running_and_waiting_jobs(submit, group, monkeypatch, ask):
    monkeypatch.setenv("FAKE_HANG", "2")
    submit(*TWO_STAGES, "--jobs", "1")
    wait_until(lambda: list(group.glob("*/hanging")))
    assert sorted(states_in(ask("status")).values()) == ["pending"] * 3 + ["running"]
    assert "4 runs" in ask("cancel")
    wait_until(is_idle)
    assert set(states_in(ask("status")).values()) == {"cancelled"}
    assert results_in(group) == {}


def test_a_failed_first_stage_cancels_its_second_stage(submit, group, monkeypatch, ask):
    monkeypatch.setenv("FAKE_FAIL", "first-seed1")
    submit(*TWO_STAGES, "--retries", "0")
    wait_until(is_idle)
    assert sorted(states_in(ask("status")).values()) == ["cancelled", "failed", "finished", "finished"]


def test_an_unknown_partition_is_an_error_of_one_sentence(cluster, call, group, capsys):
    slurm = ["--launcher", "slurm", "--slurm", "partition=none,time=30"]
    assert experiments.main([*call, *KD, *slurm]) == 1
    error = capsys.readouterr().err
    assert "invalid partition" in error
    assert error.count("\n") == 1
    assert not list(group.glob("*/job.json"))
