"""A group of runs to report on."""

from collections.abc import Callable
from pathlib import Path

import pytest

from launcher.report import plots
from tests.launcher.report.folders import classes_with, spec, write_run, write_two_stages


@pytest.fixture
def group(tmp_path: Path) -> Path:
    """Write a small grid: two seeds, two inits, kd and a method in two stages."""
    folder = tmp_path / "runs" / "g"
    wrong = {("kd", "0,1,2"): (20, 24), ("kd", "3,4,5"): (40, 44), ("att_kl_learn", "0,1,2"): (16, 18),
             ("att_kl_learn", "3,4,5"): (42, 46)}  # fmt: skip
    for (method, init), of_seeds in wrong.items():
        write = write_run if method == "kd" else write_two_stages
        for seed, mistakes in enumerate(of_seeds, start=1):
            write(folder, spec(method, init, seed), classes_with(mistakes), peak_gb=1.0 + seed)
    return folder


@pytest.fixture
def report(group: Path) -> Callable[..., int]:
    """Return a function that runs the command on the group with few samples."""
    from launcher.report.command import main

    def call(*more: str) -> int:
        return main(["--out", str(group.parent), "--group", "g", "--samples", "500", *more])

    return call


@pytest.fixture
def drawn() -> None:
    """Draw the plots of a test."""


@pytest.fixture(autouse=True)
def without_plots(request, monkeypatch) -> None:
    """Draw no plots, because that takes most of the time, except for tests with `drawn`."""
    if "drawn" not in request.fixturenames:
        monkeypatch.setattr(plots, "draw", lambda *_: {})
