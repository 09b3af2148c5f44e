"""Plot of the dev score over updates: one panel per init, one line per method."""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from statistics import mean
from typing import TYPE_CHECKING

from ..results.logs import validations
from .cells import Cell
from .runs import Run
from .scores import SPAN, Score, at_least
from .study import Study
from .wrapping import wrap_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# The colour-blind safe palette of Okabe and Ito, without yellow, which is too faint on white. The
# baseline is black. Markers distinguish lines in greyscale.
BASELINE = ("#000000", "o")
STYLES = (
    *(("#0072B2", "s"), ("#D55E00", "^"), ("#009E73", "D"), ("#CC79A7", "v")),
    *(("#E69F00", "P"), ("#56B4E9", "X"), ("#7F7F7F", "*")),
)

PANEL = (3.1, 2.9)  # inches
LEGEND = 2.6
SPACING = 7.0  # points between markers of one update, more than their width
MARK = {
    "markersize": 5,
    "markerfacecolor": "none",
    "linewidth": 1.4,
}  # hollow, so overlapping markers are visible

# Margin right of the last update, as a share of it: for one marker, and for several side by side.
MARGIN, WIDE_MARGIN = 0.05, 0.3


def curve(cell: Cell, runs: Mapping[str, Run], score: Score) -> dict[int, list[float]]:
    """Return update -> score of each seed, at the updates at which all seeds were validated.

    The updates of a second stage continue those of its first stage.
    """
    seeds = [_points(run, runs, score) for run in cell.runs.values()]
    shared = set.intersection(*map(set, seeds)) if seeds else set()
    return {update: [points[update] for points in seeds] for update in sorted(shared)}


def _points(run: Run, runs: Mapping[str, Run], score: Score) -> dict[int, float]:
    before = max(_validations(runs[run.spec.after]), default=0) if run.spec.after in runs else 0
    return {
        before + update: subsets[score.subset][score.metric]
        for update, subsets in _validations(run).items()
        if score.metric in subsets.get(score.subset, {})
    }


def _validations(run: Run) -> dict[int, dict[str, dict[str, float]]]:
    try:
        with open(run.folder / "log.txt", encoding="utf-8", errors="replace") as lines:
            return validations(lines)
    except OSError:
        return {}


def draw_curves(study: Study, runs: Sequence[Run]) -> "Figure":
    """Draw the mean over seeds with a band from the lowest to the highest; at most eight lines per panel.

    A cell that was validated once has a bar instead of a band. The bars of a panel are side by side. A row
    of panels has all inits, and the baseline in each.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    names = study.names
    pinned, rows = _rows(study)
    size = (len(study.inits) * PANEL[0] + LEGEND, len(rows) * PANEL[1] + 0.4)
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(len(rows), len(study.inits), sharex=True, sharey=True, squeeze=False)
    by_name = {run.name: run for run in runs}
    curves = {cell: curve(cell, by_name, study.scores[0]) for cell in study.cells}
    for row, panels in zip(rows, grid, strict=True):
        styles = dict(zip(pinned, [BASELINE], strict=False))
        styles |= dict(zip(row, STYLES, strict=False))
        handles: dict[str, object] = {}
        for init, axes in zip(study.inits, panels, strict=True):
            of_init = {names[cell]: points for cell, points in curves.items() if cell.init == init}
            shown = {name: of_init[name] for name in styles if name in of_init}
            handles |= _draw_panel(axes, shown, styles)
        named = {name: handles[name] for name in [*pinned, *row] if name in handles}
        panels[-1].legend(
            named.values(),
            map(wrap_name, named.keys()),
            loc="upper left",
            bbox_to_anchor=(1.02, 1.0),
            frameon=False,
        )
        panels[0].set_ylabel(f"dev {study.scores[0].title(study.task)}")

    for init, axes in zip(study.inits, grid[0], strict=True):
        axes.set_title(f"init {init}", fontsize="medium")
    grid[0, 0].set_ylim(at_least(SPAN, *grid[0, 0].get_ylim()))
    last = max((update for points in curves.values() for update in points), default=1)
    has_bars = any(len(points) == 1 for points in curves.values())
    grid[0, 0].set_xlim(0, (1 + (WIDE_MARGIN if has_bars else MARGIN)) * last)
    for axes in grid.flat:
        axes.xaxis.set_major_locator(MaxNLocator(nbins=4, integer=True))
        axes.grid(color="#DDDDDD", linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
    equal = "; equal ones side by side" if has_bars else ""
    figure.supxlabel(f"updates, first stages included{equal}", fontsize="medium")
    figure.suptitle(f"{study.task}: {_describe_seeds(curves.values())}", fontsize="medium")
    return figure


def _rows(study: Study) -> tuple[list[str], list[list[str]]]:
    """Return the baseline's name, if there is one, and the other names of each row; keep a method in one row."""
    names = study.names
    pinned = list(dict.fromkeys(names[cell] for cell in study.baselines.values()))[:1]
    methods: dict[str, dict[str, None]] = {}
    for cell in study.cells:
        if names[cell] not in pinned:
            methods.setdefault(cell.method, {})[names[cell]] = None

    rows: list[list[str]] = [[]]
    for of_method in methods.values():
        if len(rows[-1]) + len(of_method) > len(STYLES) and rows[-1]:
            rows.append([])
        for name in of_method:
            if len(rows[-1]) == len(STYLES):
                rows.append([])
            rows[-1].append(name)
    return pinned, rows


def _describe_seeds(curves: Iterable[Mapping[int, Sequence[float]]]) -> str:
    several = [points for points in curves if any(len(scores) > 1 for scores in points.values())]
    if not several:
        return "one seed"
    kinds = sorted({"bar" if len(points) == 1 else "band" for points in several})
    return f"mean over seeds, {' or '.join(kinds)} from lowest to highest"


def _draw_panel(
    axes: "Axes",
    curves: Mapping[str, Mapping[int, Sequence[float]]],
    styles: Mapping[str, tuple[str, str]],
) -> dict[str, object]:
    """Draw the curves of one panel; return name -> handle for the legend."""
    handles = {}
    once = [name for name, points in curves.items() if len(points) == 1]
    for name, points in curves.items():
        draw = _draw_line
        if name in once:
            draw = partial(_draw_bar, offset=SPACING * (once.index(name) - (len(once) - 1) / 2))
        handles[name] = draw(axes, points, *styles[name])
    return handles


def _draw_line(axes: "Axes", points: Mapping[int, Sequence[float]], colour: str, marker: str) -> object:
    updates = list(points)
    if any(len(scores) > 1 for scores in points.values()):
        lowest, highest = ([pick(scores) for scores in points.values()] for pick in (min, max))
        axes.fill_between(updates, lowest, highest, color=colour, alpha=0.12, linewidth=0)
    means = [mean(scores) for scores in points.values()]
    (line,) = axes.plot(updates, means, color=colour, marker=marker, **MARK)
    return line


def _draw_bar(
    axes: "Axes", points: Mapping[int, Sequence[float]], colour: str, marker: str, offset: float
) -> object:
    """Draw a cell with one update, `offset` points to the right of it."""
    from matplotlib.transforms import ScaledTranslation

    ((update, scores),) = points.items()
    middle = mean(scores)
    spread = [[middle - min(scores)], [max(scores) - middle]] if len(scores) > 1 else None
    # Artists with their own transform do not update the data limits.
    axes.update_datalim([(update, min(scores)), (update, max(scores))])
    shifted = axes.transData + ScaledTranslation(offset / 72, 0, axes.figure.dpi_scale_trans)
    drawn = axes.errorbar(
        [update], [middle], spread, color=colour, marker=marker, transform=shifted, capsize=2.5, **MARK
    )
    return drawn.lines[0]
