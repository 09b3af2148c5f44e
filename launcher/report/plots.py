"""Draws the plots of a report: scores by method and init, over updates, and against cost.

matplotlib is optional (extra `plots`) and imported when needed.
"""

import importlib.util
import itertools
import textwrap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING, Any

from preprocess.atomic_folder import atomic_file

from ..results.cells import Cell
from ..results.logs import read_validations
from ..results.runs import Run, Score
from .study import Study

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

DPI = 150

# Minimum range of a plot in points, so that noise does not fill it.
SPAN = 4.0


def available() -> bool:
    """Return whether matplotlib is installed."""
    return importlib.util.find_spec("matplotlib") is not None


def draw(study: Study, runs: Sequence[Run], folder: Path) -> dict[str, Path]:
    """Draw the plots of a task with scores; return title -> file.

    The files depend only on the runs: they ignore the user's matplotlibrc and have no date.
    """
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams["font.size"] = 9
        figures = {
            ("Scores by method and init", "init-method"): draw_heatmap(study),
            ("Learning curves", "curves"): draw_curves(study, runs),
            ("Score against cost", "cost"): draw_cost(study),
        }
        return {
            title: save(figure, folder / f"{name}-{study.task}.png")
            for (title, name), figure in figures.items()
        }


def save(figure: "Figure", path: Path) -> Path:
    """Write a PNG atomically."""
    with atomic_file(path) as file:
        figure.savefig(file, format="png", dpi=DPI, metadata={"Software": None})
    return path


# The colour-blind safe palette of Okabe and Ito, without yellow, which is too faint on white. The
# baseline is black. Markers distinguish lines in greyscale.
BASELINE = ("#000000", "o")
STYLES = (
    *(("#0072B2", "s"), ("#D55E00", "^"), ("#009E73", "D"), ("#CC79A7", "v")),
    *(("#E69F00", "P"), ("#56B4E9", "X"), ("#7F7F7F", "*")),
)

PANEL = (3.1, 2.9)  # inches
LEGEND = 2.6
MARK: dict[str, Any] = {
    "markersize": 5,
    "markerfacecolor": "none",
    "linewidth": 1.4,
}  # hollow, so overlapping markers are visible

MARGIN = 0.05  # right of the last update, as a share of it


def curve(cell: Cell, runs: Mapping[str, Run], score: Score) -> dict[int, list[float]]:
    """Return update -> score of each seed, at the updates at which all seeds were validated.

    The updates of a second stage continue those of its first stage.
    """
    seeds = [_points(run, runs, score) for run in cell.runs.values()]
    shared = set.intersection(*map(set, seeds)) if seeds else set()
    return {update: [points[update] for points in seeds] for update in sorted(shared)}


def _points(run: Run, runs: Mapping[str, Run], score: Score) -> dict[int, float]:
    first = runs.get(run.spec.after)
    before = 0 if first is None else max(read_validations(first.folder / "log.txt"), default=0)
    return {
        before + update: subsets[score.subset][score.metric]
        for update, subsets in read_validations(run.folder / "log.txt").items()
        if score.metric in subsets.get(score.subset, {})
    }


def draw_curves(study: Study, runs: Sequence[Run]) -> "Figure":
    """Draw the mean over seeds with a band from the lowest to the highest; at most eight lines per panel.

    A cell that was validated once has a bar instead of a band. A row of panels has all inits, and the baseline in each.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    names = study.names
    rows = _rows(study)
    figure = Figure(figsize=_size(study, len(rows)), layout="constrained")
    grid = figure.subplots(len(rows), len(study.inits), sharex=True, sharey=True, squeeze=False)
    by_name = {run.name: run for run in runs}
    curves = {cell: curve(cell, by_name, study.scores[0]) for cell in study.cells}
    for styles, panels in zip(rows, grid, strict=True):
        handles: dict[str, object] = {}
        for init, axes in zip(study.inits, panels, strict=True):
            of_init = {names[cell]: points for cell, points in curves.items() if cell.init == init}
            shown = {name: of_init[name] for name in styles if name in of_init}
            handles |= {name: _draw_line(axes, points, *styles[name]) for name, points in shown.items()}
        _add_legend(panels[-1], {name: handles[name] for name in styles if name in handles})
    _finish_panels(study, grid)
    last = max((update for points in curves.values() for update in points), default=1)
    grid[0, 0].set_xlim(0, (1 + MARGIN) * last)
    for axes in grid.flat:
        axes.xaxis.set_major_locator(MaxNLocator(nbins=4, integer=True))
    figure.supxlabel("updates, first stages included", fontsize="medium")
    figure.suptitle(f"{study.task}: mean over seeds, range from lowest to highest", fontsize="medium")
    return figure


def _rows(study: Study) -> list[dict[str, tuple[str, str]]]:
    """Return name -> colour and marker for each row of panels; the baseline is in each row."""
    names = study.names
    pinned = list(dict.fromkeys(names[cell] for cell in study.baselines.values()))[:1]
    others = [name for name in dict.fromkeys(names.values()) if name not in pinned]
    rows = [others[at : at + len(STYLES)] for at in range(0, len(others), len(STYLES))] or [[]]
    return [
        dict(zip(pinned, [BASELINE], strict=False)) | dict(zip(row, STYLES, strict=False)) for row in rows
    ]


def _size(study: Study, rows: int) -> tuple[float, float]:
    """Return the size in inches of a figure with a panel per init in each row."""
    return len(study.inits) * PANEL[0] + LEGEND, rows * PANEL[1] + 0.4


def _add_legend(axes: "Axes", handles: Mapping[str, Any]) -> None:
    """Add a legend right of the last panel of a row."""
    axes.legend(
        handles.values(), map(wrap_name, handles), loc="upper left", bbox_to_anchor=(1.02, 1.0), frameon=False
    )


def _finish_panels(study: Study, grid: "NDArray") -> None:
    """Label the inits and the score of a grid of panels, and set the range of the score."""
    for init, axes in zip(study.inits, grid[0], strict=True):
        axes.set_title(f"init {init}", fontsize="medium")
    for axes in grid[:, 0]:
        axes.set_ylabel(f"dev {study.scores[0].title(study.task)}")
    grid[0, 0].set_ylim(at_least(SPAN, *grid[0, 0].get_ylim()))
    for axes in grid.flat:
        axes.grid(color="#DDDDDD", linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)


def _draw_line(axes: "Axes", points: Mapping[int, Sequence[float]], colour: str, marker: str) -> object:
    """Draw the means of a cell, and the range of its seeds: a band, or a bar if it has one update."""
    updates, means = list(points), [mean(scores) for scores in points.values()]
    lowest, highest = ([pick(scores) for scores in points.values()] for pick in (min, max))
    if len(updates) > 1:
        axes.fill_between(updates, lowest, highest, color=colour, alpha=0.12, linewidth=0)
    else:
        axes.vlines(updates, lowest, highest, color=colour)
    (line,) = axes.plot(updates, means, color=colour, marker=marker, **MARK)
    return line


COSTS: dict[str, Callable[[Cell], float | None]] = {
    "seconds per seed, first stage included": lambda cell: cell.seconds,
    "peak memory in GiB": lambda cell: cell.peak_gb,
}
WIDE_RANGE = 10  # ratio of the highest to the lowest cost, from which the axis is logarithmic

# Of the markers: each distinguishes as many names as there are colours.
FILLINGS = ("none", "full", "left", "top", "right", "bottom")


def draw_cost(study: Study) -> "Figure":
    """Draw the score of each cell over its training time and, if recorded, its peak memory: a panel per init.

    A bar is the deviation over seeds.
    """
    from matplotlib.figure import Figure

    names, score = study.names, study.scores[0]
    averages = {cell: average for cell in study.cells if (average := cell.average(score))[0] is not None}
    costs = {
        title: found
        for title, of in COSTS.items()
        if (found := {cell: cost for cell in averages if (cost := of(cell)) is not None})
    }
    styles: dict[str, dict[str, str]] = {}
    for filling, row in zip(itertools.cycle(FILLINGS), _rows(study), strict=False):
        for name, (colour, marker) in row.items():
            styles.setdefault(name, {"color": colour, "marker": marker, "fillstyle": filling})

    figure = Figure(figsize=_size(study, len(costs)), layout="constrained")
    grid = figure.subplots(len(costs), len(study.inits), sharex="row", sharey=True, squeeze=False)
    handles: dict[str, Any] = {}
    for (title, of_cells), panels in zip(costs.items(), grid, strict=True):
        for cell, cost in of_cells.items():
            mean, deviation = averages[cell]
            drawn = panels[study.inits.index(cell.init)].errorbar(
                cost, mean, deviation, **styles[names[cell]], linestyle="none", markersize=5, capsize=2.5
            )
            handles[names[cell]] = drawn.lines[0]
        lowest, highest = min(of_cells.values()), max(of_cells.values())
        if highest > WIDE_RANGE * lowest > 0:
            panels[0].set_xscale("log")
        else:
            panels[0].set_xlim(0, (1 + MARGIN) * highest)
        for axes in panels:
            axes.set_xlabel(title)
    _add_legend(grid[0, -1], {name: handles[name] for name in styles if name in handles})
    _finish_panels(study, grid)
    figure.suptitle(f"{study.task}: mean over seeds, bar of the deviation", fontsize="medium")
    return figure


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


WIDTH = 28  # characters, about two inches


def wrap_name(name: str) -> str:
    """Wrap a name to lines of WIDTH characters, without breaking words or flags."""
    return textwrap.fill(name, WIDTH, break_long_words=False, break_on_hyphens=False)


def at_least(span: float, low: float, high: float) -> tuple[float, float]:
    """Return the range from `low` to `high`, widened on both sides to at least `span`."""
    wider = max(0.0, span - (high - low)) / 2
    return low - wider, high + wider
