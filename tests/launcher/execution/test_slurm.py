import sys
from pathlib import Path

import pytest

from launcher.execution.slurm import Command, Slurm, minutes, read_parameters

KD = ["--method", "kd", "--seeds", "1", "--launcher", "slurm"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("30", 30),
        ("5:01", 6),
        ("4:00:00", 240),
        ("1-2", 26 * 60),
        ("1-2:30", 26 * 60 + 30),
        ("1-0:0:1", 1441),
    ],
)
def test_a_time_limit_is_read_as_sbatch_reads_it(text, expected):
    assert minutes(text) == expected


def test_values_may_contain_commas():
    found = read_parameters("time=4:00:00,exclude=node1,node2,cpus-per-task=4")
    assert found == {"time": 240, "exclude": "node1,node2", "cpus_per_task": 4}


@pytest.mark.parametrize(
    ("given", "values"),
    [
        ([], ["--slurm", "time"]),
        (["--slurm", "partition=gpu"], ["--slurm", "time"]),
        (["--slurm", "time=soon"], ["--slurm time=soon"]),
        (["--slurm", "partition,time=5"], ["--slurm partition"]),
        (["--slurm", "time=5,nodes=2"], ["--slurm nodes"]),
        (["--slurm", "time=5,colour=red"], ["--slurm", "colour", "partition"]),
    ],
)
def test_invalid_parameters_are_refused_before_anything_is_made(
    call, refused, programs, tmp_path, given, values
):
    error = refused(*call, *KD, *given)
    assert error.count("\n") == 1
    assert all(value in error for value in values)
    assert not (tmp_path / "runs").exists()
    assert not (programs / "script").exists()


def test_parameters_without_the_launcher_are_refused(call, refused):
    error = refused(*call, "--method", "kd", "--slurm", "time=5")
    assert "--slurm time=5" in error


def test_a_missing_program_is_named(call, refused, programs, monkeypatch, tmp_path):
    (programs / "sbatch").unlink()
    monkeypatch.setenv("PATH", str(programs))
    assert "sbatch" in refused(*call, *KD, "--slurm", "time=5")
    monkeypatch.setitem(sys.modules, "submitit", None)
    assert "pip install submitit" in refused(*call, *KD, "--slurm", "time=5")
    assert not (tmp_path / "runs").exists()


def test_an_array_is_submitted_with_its_limit_dependency_and_cores(programs, tmp_path):
    slurm = Slurm(tmp_path / "logs", read_parameters("time=4:00:00,partition=gpu,cpus_per_task=3"), limit=2)
    tasks = [Command(["true"]), Command(["false"]), Command(["true"])]
    assert slurm.submit(tasks, "g-stage2", "aftercorr:7") == ["12_0", "12_1", "12_2"]
    lines = (programs / "script").read_text().splitlines()
    for line in (
        "--array=0-2%2",
        "--cpus-per-task=3",
        "--dependency=aftercorr:7",
        "--job-name=g-stage2",
        "--kill-on-invalid-dep=yes",
        "--partition=gpu",
        "--requeue",
        "--signal=USR2@90",
        "--time=240",
    ):
        assert f"#SBATCH {line}" in lines
    [command] = [line for line in lines if line.startswith("srun")]
    assert "--cpus-per-task=3" in command
    assert f"env PYTHONPATH={Path(__file__).parents[3]}" in command


def test_the_queue_is_read_and_cancelled(programs, tmp_path):
    slurm = Slurm(tmp_path)
    assert slurm.states() == {"12_0": "running", "12_1": "pending", "13": "running"}
    slurm.cancel(["12_0", "12_1"])
    assert (programs / "cancelled").read_text() == "--quiet 12_0 12_1\n"


def test_a_failed_controller_is_an_error_of_one_sentence(programs, tmp_path):
    for name in ("squeue", "scancel"):
        (programs / name).write_text(
            "#!/bin/sh\nprintf 'error: no host\\nerror: no controller\\n' >&2; exit 1\n"
        )
    with pytest.raises(ValueError, match=r"squeue failed \(error: no host error: no controller\)"):
        Slurm(tmp_path).states()
    with pytest.raises(ValueError, match=r"scancel failed \(error: no host error: no controller\)"):
        Slurm(tmp_path).cancel(["1"])
