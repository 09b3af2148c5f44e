"""Fixture: stand-ins of Slurm's programs."""

from pathlib import Path

import pytest


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
