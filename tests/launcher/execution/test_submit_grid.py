"""experiments.py --launcher slurm, with a trainer that takes no time and submitit's local executor instead of Slurm."""

import os
import signal
from types import SimpleNamespace

import pytest

import experiments
from launcher.execution import submit_grid
from launcher.execution.submit_grid import Submission, arrays, read_submission
from tests.launcher.execution.local_queue import only_child, states_in
from tests.launcher.run_directories import results_in, wait_for

pytestmark = pytest.mark.slow

KD = ["--method", "kd", "--seeds", "1"]
TWO_STAGES = ["--method", "att_kl_learn", "--seeds", "1,2"]


@pytest.fixture
def submit(call, queue, capsys):
    """Return a function that submits a grid, checks the exit status and returns what was printed."""

    def submit(*words: str, status: int = 0) -> str:
        assert experiments.main([*call, "--launcher", "slurm", *words]) == status
        printed = capsys.readouterr()
        return printed.out + printed.err

    return submit


@pytest.mark.slow
def test_teacher_first_and_second_stages_run_in_this_order_with_the_results_of_the_local_launcher(
    submit, call, queue, group, tmp_path, ask
):
    without_teacher = [
        word for word in call if word not in ("--teacher", str(tmp_path / "teachers" / "MRPC"))
    ]
    call[:] = [*without_teacher, "--pretrained", str(tmp_path / "teachers" / "MRPC"), "--teacher-epochs", "1"]
    dictionary = tmp_path / "data" / "MRPC-bin" / "input0" / "dict.txt"
    dictionary.parent.mkdir()
    dictionary.write_text("a 1\n")
    submit(*TWO_STAGES)
    queue.wait()

    assert [(name, dependency) for _, name, dependency in queue.submitted] == [
        ("g-teacher", ""),
        ("g-stage1", "afterok:0"),
        ("g-stage2", "afterok:0,aftercorr:1"),
    ]
    found = results_in(group)
    assert (
        experiments.main([*call, *TWO_STAGES, "--group", "local", "--out", str(tmp_path / "elsewhere")]) == 0
    )
    expected = results_in(tmp_path / "elsewhere" / "local")
    assert found.keys() == expected.keys()
    for name, result in expected.items():
        assert (found[name]["best"], found[name]["spec"]) == (result["best"], result["spec"])

    table = submit(*TWO_STAGES)  # all runs are finished
    assert "| MRPC | att_kl_learn | 0,1,2 | skip | two | accuracy | 73.50 ± 0.71 | 2 |" in table
    assert (group / "table.md").read_text() in table
    assert len(queue.submitted) == 3
    printed = ask("status")
    assert set(states_in(printed).values()) == {"finished"}
    assert len(states_in(printed)) == 1 + 2 + 2
    assert "accuracy 74" in printed


@pytest.mark.slow
def test_a_preempted_job_is_requeued_and_resumes(submit, queue, group, monkeypatch, ask):
    monkeypatch.setenv("FAKE_HANG", "2")
    monkeypatch.setenv("FAKE_HANGS", "once")
    submit(*KD)
    wait_for(group, "*/hanging")
    assert set(states_in(ask("status")).values()) == {"running"}
    os.kill(only_child(int(queue.jobs["0"].job_id)), signal.SIGUSR2)
    queue.wait()

    [result] = results_in(group).values()
    assert (result["best"], result["resumed"]) == (73, True)
    [log] = group.glob("*/log.txt")
    assert log.read_text().count("| valid |") == 2


@pytest.mark.slow
def test_cancel_stops_the_jobs_and_the_same_command_submits_them_again(
    submit, queue, group, monkeypatch, ask
):
    monkeypatch.setenv("FAKE_HANG", "2")
    submit(*KD)
    wait_for(group, "*/hanging")
    assert "Submitted 0 runs; 1 were in the queue" in submit(*KD)
    assert "1 runs" in ask("cancel")
    queue.wait()
    assert set(states_in(ask("status")).values()) == {"cancelled"}
    assert results_in(group) == {}

    monkeypatch.delenv("FAKE_HANG")
    submit(*KD)
    queue.wait()
    assert [result["best"] for result in results_in(group).values()] == [73]


@pytest.mark.slow
def test_a_failed_first_stage_stops_its_second_stage_only(submit, queue, group, monkeypatch, ask):
    monkeypatch.setenv("FAKE_FAIL", "first-seed1")
    submit(*TWO_STAGES, "--retries", "0")
    queue.wait()
    printed = ask("status")
    states = {name.split("-skip-")[1][:-9]: state for name, state in states_in(printed).items()}
    assert states == {
        "first-seed1": "failed",
        "first-seed2": "finished",
        "second-seed1": "cancelled",
        "second-seed2": "finished",
    }
    assert "RuntimeError: it fails on purpose." in printed


def test_a_cancelled_job_trains_nothing_and_is_submitted_again(group, monkeypatch, submit):
    ids = iter("78")
    fake = SimpleNamespace(submit=lambda *_: [next(ids)], states=lambda: {"7": "running"})
    monkeypatch.setattr(experiments, "open_slurm", lambda *_: fake)
    monkeypatch.setattr("submitit.JobEnvironment", lambda: SimpleNamespace(job_id="7"))
    submit(*KD)
    [path] = group.glob("*/job.json")
    assert "Submitted 0 runs; 1 were in the queue" in submit(*KD)
    Submission("7", (), "log", cancelled=True).write(path.parent)
    assert submit_grid.Training(SimpleNamespace(folder=path.parent)).work(None) == "cancelled"
    assert "Submitted 1 runs; 0 were in the queue" in submit(*KD)
    assert (read_submission(path.parent).id, read_submission(path.parent).cancelled) == ("8", False)


def test_a_refused_submission_keeps_the_earlier_ones(submit, queue, group, monkeypatch):
    def refuse_second_stages(tasks, name, dependency=""):
        if name.endswith("stage2"):
            raise ValueError("sbatch refused a job (it is full): correct --slurm")
        return ["0_0", "0_1"]

    monkeypatch.setattr(queue, "submit", refuse_second_stages)
    assert "it is full" in submit(*TWO_STAGES, status=1)
    assert len(list(group.glob("*/job.json"))) == 2


def test_a_batch_that_the_gpus_cannot_divide_is_refused(call, refused):
    error = refused(*call, *KD, "--batch-size", "16,18", "--gpus-per-run", "4")
    assert "--gpus-per-run 4" in error
    assert "18" in error


class FakeJob:
    """A job with the fields that decide its array."""

    is_teacher = False

    def __init__(self, name: str, stage: str, after: tuple[str, ...] = ()) -> None:
        first = next((other for other in after if other.startswith("first")), "")
        self.name, self.after = name, after
        self.spec = type("", (), {"stage": stage, "after": first})


def names_of(found) -> list[tuple[str, list[str]]]:
    return [(dependency, [job.name for job in jobs]) for dependency, jobs in found]


def test_second_stages_of_some_first_stages_wait_for_them_one_by_one():
    ids = {"teacher": "1", "first1": "2_0", "first2": "2_1", "first3": "3"}
    jobs = [FakeJob(f"second{seed}", "second", ("teacher", f"first{seed}")) for seed in (1, 2, 3)]
    whole = [("afterok:1,aftercorr:2", ["second1", "second2"]), ("afterok:1:3", ["second3"])]
    assert names_of(arrays(jobs, ids)) == whole
    assert names_of(arrays(jobs[1:2], ids)) == [("afterok:1,afterok:2_1", ["second2"])]
    assert names_of(arrays(jobs, {})) == [("", ["second1", "second2", "second3"])]


def test_a_large_array_is_divided(monkeypatch):
    monkeypatch.setattr(submit_grid, "LARGEST_ARRAY", 2)
    jobs = [FakeJob(f"run{seed}", "one") for seed in range(3)]
    assert names_of(arrays(jobs, {})) == [("", ["run0", "run1"]), ("", ["run2"])]
