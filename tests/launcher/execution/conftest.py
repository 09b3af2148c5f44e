"""Fixtures: stand-ins of Slurm's programs, and a queue without Slurm."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import experiments
from launcher.execution import status, submit_command
from tests.launcher.execution.local_queue import LocalQueue


@pytest.fixture
def programs(tmp_path, monkeypatch) -> Path:
    """Write stand-ins of Slurm's programs, which keep what they get, and return their folder."""
    folder = tmp_path / "slurm_bin"
    folder.mkdir()
    texts = {
        "sbatch": f'cp "$1" {folder}/script; echo "Submitted batch job 12"',
        "squeue": "printf '12_0 RUNNING\\n12_1 PENDING\\n13 COMPLETING\\n'",
        "scancel": f'echo "$@" > {folder}/cancelled',
        "srun": "",
    }
    for name, text in texts.items():
        (folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    return folder


@pytest.fixture
def queue(tmp_path: Path, monkeypatch) -> Iterator[LocalQueue]:
    """Replace Slurm by submitit's local executor; cancel all jobs at the end."""
    queue = LocalQueue(tmp_path / "logs")
    for module in (experiments, submit_command):
        monkeypatch.setattr(module, "open_slurm", lambda *_, **__: queue)
    monkeypatch.setattr(status, "Slurm", lambda *_: queue)
    monkeypatch.setattr(status, "check_slurm", lambda: None)
    yield queue
    queue.cancel(list(queue.states()))
    queue.wait()


@pytest.fixture
def ask(group: Path, capsys) -> Callable[[str], str]:
    """Return a function that calls `experiments.py status` or `cancel` for the group, and returns its output."""

    def ask(command: str) -> str:
        capsys.readouterr()
        assert experiments.main([command, "--out", str(group.parent), "--group", group.name]) == 0
        return capsys.readouterr().out

    return ask
