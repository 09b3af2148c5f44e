"""`python -m preprocess.corpus --launcher slurm`, with submitit's local executor instead of Slurm."""

import pytest

from launcher.execution import slurm
from preprocess.corpus.__main__ import main
from tests.launcher.execution.local_queue import LocalQueue
from tests.launcher.execution.slurm_cluster import is_idle, needs_slurm, slurm_cluster, wait_until
from tests.preprocess.corpus.conftest import contents

pytestmark = pytest.mark.slow


@pytest.mark.slow
def test_jobs_encode_the_parts_and_join_them_to_the_same_bytes(make, wiki, tmp_path, monkeypatch, capsys):
    queue = LocalQueue(tmp_path / "logs", parameters={"cpus_per_task": 1})
    monkeypatch.setattr(slurm, "open_slurm", lambda *_: queue)
    jobs = ["--launcher", "slurm", "--slurm", "time=5", "--parts", "2"]
    assert make("--input", f"{wiki}=wiki", "--shards", "2", *jobs) == 0
    assert "Stop them:  scancel 0 1" in capsys.readouterr().out
    queue.wait()
    assert queue.submitted == [
        (["0_0", "0_1"], "data-encode", ""),
        (["1"], "data-join", "afterok:0"),
    ]

    assert make("--input", f"{wiki}=wiki", "--shards", "2", out="here") == 0
    assert contents(tmp_path / "data") == contents(tmp_path / "here")
    assert make("--input", f"{wiki}=wiki", "--shards", "2", *jobs) == 0  # up to date
    assert len(queue.submitted) == 2


@pytest.mark.parametrize("words", [["--workers", "3"], ["--workers=3"]])
def test_given_workers_win_over_the_cores_of_a_job(wordpiece_folder, wiki, tmp_path, monkeypatch, words):
    submitted = []

    class Queue:
        parameters, folder = {"cpus_per_task": 8}, tmp_path

        def submit(self, tasks, name, dependency=""):
            submitted.extend(tasks)
            return ["1"]

    monkeypatch.setattr(slurm, "open_slurm", lambda *_: Queue())
    jobs = ["--input", f"{wiki}=wiki", "--launcher", "slurm", "--slurm", "time=5", "--parts", "1"]
    jobs += ["--encoder-dir", str(wordpiece_folder), "--out", str(tmp_path / "data")]
    assert main([*jobs, *words]) == 0
    assert "8" not in submitted[0].command
    assert main(jobs) == 0
    assert submitted[2].command[-4:-2] == ["--workers", "8"]


@pytest.mark.slurm
@needs_slurm
def test_jobs_of_a_real_slurm_give_the_same_bytes(make, wiki, tmp_path):
    with slurm_cluster():
        jobs = ["--launcher", "slurm", "--slurm", "time=5,cpus_per_task=1", "--parts", "2"]
        assert make("--input", f"{wiki}=wiki", *jobs) == 0
        wait_until(is_idle)
    assert make("--input", f"{wiki}=wiki", out="here") == 0
    assert contents(tmp_path / "data") == contents(tmp_path / "here")
