"""Draws the plots of a report. matplotlib is optional (extra `plots`) and imported when needed."""

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..files import atomic_write
from .curves import draw_curves
from .heatmap import draw_heatmap
from .runs import Run
from .study import Study

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DPI = 150


def available() -> bool:
    """Return whether matplotlib is installed."""
    return importlib.util.find_spec("matplotlib") is not None


def draw(study: Study, runs: Sequence[Run], folder: Path) -> list[Path]:
    """Draw the dev score over updates and the heat map of a task with scores; return the files.

    The files depend only on the runs: they ignore the user's matplotlibrc and have no date.
    """
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams["font.size"] = 9
        figures = {
            f"curves-{study.task}.png": draw_curves(study, runs),
            f"init-method-{study.task}.png": draw_heatmap(study),
        }
        return [save(figure, folder / name) for name, figure in figures.items()]


def save(figure: "Figure", path: Path) -> Path:
    """Write a PNG atomically."""
    with atomic_write(path) as aside:
        figure.savefig(aside, format="png", dpi=DPI, metadata={"Software": None})
    return path
