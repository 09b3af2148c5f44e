"""The state of each run of a group, and the jobs that `cancel` cancels; test_slurm_cluster.py has both on a real Slurm."""

import json
from pathlib import Path

import pytest

import experiments
from launcher.execution.status import cancel, find_status
from launcher.execution.submit_grid import Submission, read_submission
from launcher.files import take_lock

VALIDATION = '| INFO | valid | {"valid_num_updates": "20", "valid_loss": "0.5", "valid_accuracy": "71.23"}\n'
RESULT = json.dumps({"metric": "accuracy", "best": 73.0})


def write(folder: Path, job: Submission | None = None, **files: str) -> Path:
    """Write a run directory with a log, a job and other files."""
    texts = {
        "spec.json": "{}",
        "command.txt": "train --best-checkpoint-metric accuracy",
        "log.txt": VALIDATION,
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in (texts | files).items():
        (folder / name).write_text(text)
    if job is not None:
        job.write(folder)
    return folder


@pytest.mark.parametrize(
    ("job", "files", "state", "reason"),
    [
        (None, {}, "stopped", ""),
        (None, {"result.json": RESULT}, "finished", ""),
        (("1",), {}, "pending", ""),
        (("2",), {"result.json": RESULT}, "running", ""),  # it still makes predictions
        (("3",), {"finished.txt": "job 3"}, "finished", ""),
        (("3",), {"problem.txt": "no memory\n"}, "failed", "no memory"),
        (("3",), {}, "failed", "see job.err"),
        (("3", True), {"problem.txt": "stopped\n"}, "cancelled", ""),
    ],
)
def test_the_state_of_a_run_is_that_of_its_job_or_of_its_files(tmp_path, job, files, state, reason):
    submission = job and Submission(job[0], (), "job.err", cancelled=len(job) > 1)
    found = find_status(write(tmp_path, submission, **files), {"1": "pending", "2": "running"})
    score = "accuracy 73" if state == "finished" and "result.json" in files else "accuracy 71.23"
    assert (found.state, found.reason, found.updates, found.score) == (state, reason, 20, score)


def test_a_run_is_cancelled_if_one_that_it_waits_for_did_not_finish(tmp_path):
    first = write(tmp_path / "first")
    second = write(tmp_path / "second", Submission("2", (str(first),), "job.err"))
    found = find_status(second, {})
    assert (found.state, found.reason) == ("cancelled", "first is not finished")
    (first / "result.json").write_text(RESULT)
    assert find_status(second, {}).state == "failed"


def test_status_prints_a_group_without_a_queue_and_its_number_of_runs_by_state(tmp_path, capsys):
    write(tmp_path / "g" / "a", **{"result.json": RESULT})
    write(tmp_path / "g" / "b")
    call = ["status", "--out", str(tmp_path), "--group"]
    with open(tmp_path / "g" / "b" / "lock", "w") as lock:
        take_lock(lock)
        assert experiments.main([*call, "g"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "run  state     updates  last score",
        "a    finished  20       accuracy 73",
        "b    running   20       accuracy 71.23",
        "1 finished, 1 running",
    ]
    assert experiments.main([*call, "h"]) == 2
    assert f"{tmp_path}/h has no runs" in capsys.readouterr().err


class FakeQueue:
    def __init__(self, *ids: str) -> None:
        self.ids, self.cancelled = ids, []

    def states(self) -> dict[str, str]:
        return dict.fromkeys(self.ids, "running")

    def cancel(self, ids: list[str]) -> None:
        self.cancelled += ids


def test_cancel_leaves_ended_jobs_and_a_teacher_that_another_group_needs(tmp_path):
    teacher = write(tmp_path / "teachers" / "t", Submission("9", (), ""))
    for group, id in (("g", "1"), ("h", "2")):
        write(tmp_path / group / "run", Submission(id, (str(teacher),), ""))
    write(tmp_path / "g" / "ended", Submission("3", (), ""))

    needed = FakeQueue("1", "2", "9")
    assert cancel(tmp_path / "g", needed) == ["run"]
    assert needed.cancelled == ["1"]
    assert read_submission(tmp_path / "g" / "run").cancelled
    assert not read_submission(teacher).cancelled

    alone = FakeQueue("1", "9")
    assert sorted(cancel(tmp_path / "g", alone)) == ["run", "t"]
    assert sorted(alone.cancelled) == ["1", "9"]
