"""Heat map of scores by method and init."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .cells import Cell
from .scores import SPAN, at_least
from .study import Study
from .wrapping import wrap_name

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CELL = (1.15, 0.52)  # inches
AROUND = (3.4, 1.2)  # labels, colour bar, title
MISSING = "#EEEEEE"
COLOURS = (
    "YlGnBu"  # colour-blind safe, and without a middle grey on which neither white nor black text is readable
)
DARK = 0.18  # luminance below which white text has more contrast than black


def draw_heatmap(study: Study) -> "Figure":
    """Draw a row per method and a column per init, with mean ± deviation over seeds; the best cell has a frame."""
    import numpy as np
    from matplotlib import colormaps
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    score, names, inits = study.scores[0], study.names, study.inits
    methods = list(dict.fromkeys(names.values()))
    means = np.full((len(methods), len(inits)), np.nan)
    places = {cell: (methods.index(names[cell]), inits.index(cell.init)) for cell in study.cells}
    for cell, place in places.items():
        mean, _ = cell.average(score)
        means[place] = np.nan if mean is None else mean

    size = (len(inits) * CELL[0] + AROUND[0], len(methods) * CELL[1] + AROUND[1])
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots()
    colours = colormaps[COLOURS].with_extremes(bad=MISSING)
    low, high = at_least(SPAN, np.nanmin(means), np.nanmax(means))
    image = axes.imshow(means, cmap=colours, vmin=low, vmax=high, aspect="auto")
    for cell, (row, column) in places.items():
        ground = image.to_rgba(means[row : row + 1, column : column + 1])[0, 0]
        ink = "white" if _luminance(ground) < DARK else "black"
        axes.text(column, row, _written(cell, study), ha="center", va="center", color=ink, fontsize=8)
        if cell is study.best:
            frame = Rectangle(
                (column - 0.48, row - 0.46), 0.96, 0.92, fill=False, edgecolor="#D55E00", linewidth=2
            )
            axes.add_patch(frame)

    axes.set_xticks(range(len(inits)), inits)
    axes.set_yticks(range(len(methods)), map(wrap_name, methods))
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_xlabel("init: teacher layers, from 0")
    axes.set_title(
        f"{study.task}: dev {score.title(study.task)}, mean ± deviation over seeds", fontsize="medium"
    )
    figure.colorbar(image, ax=axes, shrink=0.9)
    return figure


def _luminance(colour: Sequence[float]) -> float:
    """Relative luminance of an sRGB colour, 0 black to 1 white (its curve taken as a power of 2.2)."""
    red, green, blue = (channel**2.2 for channel in colour[:3])
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _written(cell: Cell, study: Study) -> str:
    mean, deviation = cell.average(study.scores[0])
    if mean is None:
        return "-"
    lines = [f"{mean:.2f}" if deviation is None else f"{mean:.2f} ± {deviation:.2f}"]
    if len(cell.runs) < cell.planned:
        lines.append(f"{len(cell.runs)} of {cell.planned} seeds")
    return "\n".join(lines)
