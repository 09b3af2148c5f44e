"""experiments.py submit: one training on several nodes, with stand-ins for Slurm, locally, and on a real Slurm."""

import os
import shlex
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch.testing import assert_close

import experiments
from launcher.execution.slots import Processes
from launcher.execution.submit_command import NodesTraining, find_save_dir, torchrun_command
from launcher.execution.submit_grid import Submission, read_submission
from tests import processes
from tests.launcher.execution.local_queue import only_child
from tests.launcher.execution.slurm_cluster import is_idle, needs_slurm, output, slurm_cluster, wait_until
from tests.tiny import logged, train_command, train_here, write_teacher, write_text

NODES = ["submit", "--nodes", "2", "--processes-per-node", "1"]
ON_TWO = [*NODES, "--slurm", "partition=low,time=30,cpus_per_task=1", "--"]

# Writes the rank of each worker, and waits in the first attempt. With --fail MESSAGE, the last worker fails and the
# others wait.
PROGRAM = """#!{python} -SE
import os, sys, time
from pathlib import Path

folder = Path(sys.argv[sys.argv.index("--save-dir") + 1])
rank, last = os.environ["RANK"], str(int(os.environ["WORLD_SIZE"]) - 1)
if "--fail" in sys.argv and rank == last:
    sys.exit(sys.argv[sys.argv.index("--fail") + 1])
elif "--fail" in sys.argv:
    time.sleep(60)
if not (folder / f"started{{rank}}").exists():
    (folder / f"started{{rank}}").touch()
    time.sleep(60)
(folder / f"rank{{rank}}").write_text(os.environ["WORLD_SIZE"])
print('| train_inner | {{"num_updates": "12"}}')
print('| valid | {{"valid_num_updates": "12", "valid_loss": "0.5"}}')
"""


@pytest.fixture
def program(tmp_path) -> Path:
    path = tmp_path / "fake-train"
    path.write_text(PROGRAM.format(python=sys.executable))
    path.chmod(0o755)
    return path


@pytest.fixture
def folder(tmp_path) -> Path:
    return tmp_path / "runs" / "pretrained"


@pytest.fixture
def state(tmp_path, capsys):
    """Return a function that returns the line of the run in the output of `experiments.py status`."""

    def state() -> str:
        capsys.readouterr()
        assert experiments.main(["status", "--out", str(tmp_path), "--group", "runs"]) == 0
        return " ".join(capsys.readouterr().out.splitlines()[1].split()[1:])

    return state


def test_torchrun_of_each_node_connects_to_the_first_node():
    words = torchrun_command(["fairseq-train", "data"], 8, ["gpu07", "gpu10"], 1, "31234")
    assert words[2].endswith("python") or words[2] == sys.executable
    assert words[:2] + words[3:] == shlex.split(
        "env TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 -m torch.distributed.run --nnodes 2 --nproc-per-node 8 --max-restarts 3 "
        "--rdzv-backend c10d --rdzv-endpoint gpu07:21234 --rdzv-id 31234 --rdzv-conf is_host=0 fairseq-train data"
    )
    first = torchrun_command(["fairseq-train"], 8, ["gpu07", "gpu10"], 0, "31234")
    assert first[first.index("--rdzv-conf") + 1] == "is_host=1"


@pytest.mark.parametrize(
    "words",
    [["--save-dir", "a/b"], ["--save-dir=a/b"], ["checkpoint.save_dir=a/b"], ["++checkpoint.save_dir=a/b"]],
)
def test_the_save_directory_is_read_from_the_command(words):
    assert find_save_dir(["fairseq-train", "data", *words]) == Path("a/b")


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["--nodes", "0"], "--nodes"),
        (["--nodes", "2", "--slurm", "time=5"], "--processes-per-node"),
        (["--nodes", "2", "--processes-per-node", "8", "--", "fairseq-train"], "--slurm"),
        ([*NODES[1:], "--slurm", "time=5"], "-- fairseq-train"),
        ([*NODES[1:], "--slurm", "time=5", "--"], "-- fairseq-train"),
        ([*NODES[1:], "--slurm", "time=5", "--", "fairseq-train", "data"], "0 save directories"),
        ([*NODES[1:], "--slurm", "time=5", "--", "no-train", "--save-dir", "s"], "no-train"),
        ([*NODES[1:], "--slurm", "time=5,nodes=3", "--", "true", "--save-dir", "s"], "--slurm nodes"),
        ([*NODES[1:], "--slurm", "partition=gpu", "--", "true", "--save-dir", "s"], "--slurm has no time"),
    ],
)
def test_an_incomplete_command_is_refused_before_anything_is_made(
    refused, programs, tmp_path, monkeypatch, words, found
):
    monkeypatch.chdir(tmp_path)
    error = refused("submit", *words)
    assert found in error
    assert error.count("\n") == 1
    assert not (tmp_path / "s").exists()
    assert not (programs / "script").exists()


def test_one_task_is_submitted_for_each_node(programs, program, folder, capsys):
    slurm = ["--slurm", "partition=gpu,time=24:00:00,gpus_per_node=8,cpus_per_task=4"]
    command = [str(program), "data", "--save-dir", str(folder)]
    assert (
        experiments.main(["submit", "--nodes", "2", "--processes-per-node", "8", *slurm, "--", *command]) == 0
    )
    lines = (programs / "script").read_text().splitlines()
    for line in ("--nodes=2", "--ntasks-per-node=1", "--gpus-per-node=8", "--requeue", "--signal=USR2@90"):
        assert f"#SBATCH {line}" in lines
    [srun] = [line for line in lines if line.startswith("srun")]
    assert "--cpus-per-task=4 --kill-on-bad-exit" in srun
    assert (folder / "command.txt").read_text() == shlex.join(command) + "\n"
    assert f"status --out {folder.parents[1]} --group runs" in capsys.readouterr().out
    assert read_submission(folder).id == "12"


def test_a_save_directory_with_a_job_in_the_queue_is_refused(programs, program, folder, refused):
    folder.mkdir(parents=True)
    words = [*NODES, "--slurm", "time=5", "--", str(program), "--save-dir", str(folder)]
    Submission("13", (), "log").write(folder)  # the stand-in of squeue lists it
    assert f"--save-dir {folder} has the job 13, which is running" in refused(*words)
    Submission("13", (), "log", cancelled=True).write(folder)
    assert experiments.main(words) == 0


@pytest.mark.slow
def test_a_requeued_job_runs_all_workers_again_and_status_says_that_it_finished(
    queue, program, folder, state, monkeypatch
):
    program.with_name("python").symlink_to(processes.programs() / "python")  # a fork of a server
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    words = ["submit", "--nodes", "1", "--processes-per-node", "2", "--slurm", "time=5", "--"]
    assert experiments.main([*words, str(program), "--save-dir", str(folder)]) == 0
    wait_until(lambda: len(list(folder.glob("started*"))) == 2)
    assert state() == "running 0"
    os.kill(only_child(int(queue.jobs["0"].job_id)), signal.SIGUSR2)
    queue.wait()
    assert {path.name: path.read_text() for path in folder.glob("rank*")} == {"rank0": "2", "rank1": "2"}
    assert state() == "finished 12 loss 0.5"


@pytest.mark.parametrize("message", ["RuntimeError: no more memory.", "Cannot start: no data."])
def test_a_failed_training_names_its_reason_or_log(tmp_path, monkeypatch, message):
    def fail(_, command, slot, sink) -> int:
        sink.write(message.encode())
        sink.flush()
        return 1

    monkeypatch.setattr(Processes, "call", fail)
    job = SimpleNamespace(job_id="7", node=0, hostnames=["host"])
    monkeypatch.setattr("submitit.JobEnvironment", lambda: job)
    problem = NodesTraining(["fairseq-train"], 1, tmp_path).work(Processes())
    unknown = f"exit status 1 on host: see {tmp_path / 'log.txt'}"
    assert problem == (message if message.startswith("Cannot start") else unknown)
    assert (tmp_path / "problem.txt").read_text() == problem + "\n"


@pytest.fixture(scope="module")
def two_nodes():
    with slurm_cluster(nodes=2):
        yield


@pytest.mark.slow
@pytest.mark.slurm
@needs_slurm
def test_two_nodes_of_a_real_slurm_resume_after_a_requeue_and_equal_one_process(
    two_nodes, tmp_path, folder, state, monkeypatch
):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    text = write_text(tmp_path / "text", lines=(("train", 300), ("valid", 20)))
    teacher = write_teacher(tmp_path / "teacher.pt", classes=None, lm_head=True)
    flags = ["--teacher", str(teacher), "--criterion", "att_kl_learn", "--max-epoch", "4",
             "--tokens-per-sample", "24", "--batch-size", "4", "--adam-eps", "0.1",
             "--save-interval-updates", "2", "--ddp-backend", "legacy_ddp"]  # fmt: skip

    def command(save_dir: Path, *more: str) -> list[str]:
        return train_command(text, save_dir, *flags, *more, task="masked_lm_kd")

    words = [*ON_TWO, *command(folder, "--distributed-backend", "gloo")]
    assert experiments.main(words) == 0
    wait_until(lambda: (folder / "checkpoint_last.pt").exists(), seconds=240)
    assert state().startswith("running")
    job = read_submission(folder).id
    # Slurm sends this signal before the time limit, to all processes of the job.
    subprocess.run(["scancel", "--signal", "USR2", job], check=True)
    wait_until(lambda: f"{job} PENDING" in output("squeue", "--noheader", "--format", "%i %T"))
    wait_until(is_idle, seconds=240)
    assert state().startswith("finished 64 loss")

    assert "Requeued job" in "".join(path.read_text() for path in folder.glob("slurm/*_log.*"))
    logs = "".join(path.read_text() for path in folder.glob("log*.txt"))
    updates = Counter(int(values["num_updates"]) for values in logged(logs, "train_inner"))
    assert sorted(updates) == list(range(1, 65))
    assert updates[1] == 1  # the second attempt continued
    train_here(command(tmp_path / "one", "--update-freq", "2"))
    found, expected = (
        torch.load(path / "checkpoint_last.pt", weights_only=True)["model"]
        for path in (folder, tmp_path / "one")
    )
    for weight, value in expected.items():
        assert_close(found[weight], value, rtol=1e-4, atol=2e-5)


@pytest.mark.slow
@pytest.mark.slurm
@needs_slurm
def test_cancel_and_a_failure_of_one_node_end_the_job_on_all_nodes(
    two_nodes, program, tmp_path, folder, state
):
    words = [*ON_TWO, str(program), "--save-dir", str(folder)]
    assert experiments.main(words) == 0
    wait_until(lambda: len(list(folder.glob("started*"))) == 2, seconds=240)
    assert experiments.main(["cancel", "--out", str(tmp_path), "--group", "runs"]) == 0
    wait_until(is_idle, seconds=240)
    assert state() == "cancelled 0"
    assert experiments.main([*words, "--fail", "message"]) == 0
    wait_until(is_idle, seconds=240)
    assert state() == "failed 0"
    assert "exit status 1 on 127.0.0." in (folder / "problem.txt").read_text()
