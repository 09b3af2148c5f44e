"""Training runs: what they logged and saved, and trainings by two workers."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch.testing import assert_close

from tests.processes import torchrun


def values_of(rows: Sequence[tuple[str, dict[str, float]]], tag: str) -> list[dict[str, float]]:
    """Return the statistics that `train_here` returned under a tag."""
    return [values for found, values in rows if found == tag]


def losses(rows: Sequence[tuple[str, dict[str, float]]]) -> list[float]:
    """Return the loss of each update."""
    return [values["loss"] for values in values_of(rows, "train_inner")]


def train_by_two_workers(command: Sequence[str], *flags: str) -> str:
    """Run a `train_command` by two workers; return the output."""
    done = torchrun([*command, "--distributed-backend", "gloo", *(flags or ("--ddp-backend", "legacy_ddp"))])
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout + done.stderr


def checkpoint(run_dir: Path, name: str = "checkpoint_last.pt") -> dict:
    """Return the content of a run's checkpoint."""
    return torch.load(run_dir / name, weights_only=True, map_location="cpu")


def check_same_weights(found: Path, expected: Path, **tolerance: float) -> None:
    """Assert that two runs ended with the same weights and buffers of student and criterion.

    tolerance  of `assert_close`; without, the bits are equal
    """
    ours, theirs = checkpoint(found), checkpoint(expected)
    for part in ("model", "criterion"):
        assert ours[part].keys() == theirs[part].keys()
        for name, value in theirs[part].items():
            assert_close(
                ours[part][name],
                value,
                **tolerance or {"rtol": 0, "atol": 0},
                msg=lambda m, name=name: f"{name}: {m}",
            )
