"""The plots of a report. matplotlib is optional (extra `plots`) and imported where something is drawn."""

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .. import results
from .curves import draw_curves
from .heatmap import draw_heatmap
from .runs import Run
from .study import Study

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DPI = 150


def available() -> bool:
    """Whether matplotlib is installed."""
    return importlib.util.find_spec("matplotlib") is not None


def draw(study: Study, runs: Sequence[Run], folder: Path) -> list[Path]:
    """Draws the dev score over updates and the heat map of a task that has scores.

    The same runs give the same files: whatever the user's matplotlibrc, and without a date inside.
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
    """Writes a PNG, which is there whole or not at all."""
    with results.whole(path) as aside:
        figure.savefig(aside, format="png", dpi=DPI, metadata={"Software": None})
    return path
