"""Plots the loss over updates of one or several runs: dots for training, a line for validation.

    python scripts/plot_training.py runs/small_roberta/log.txt --out loss.png
    python scripts/plot_training.py attention=runs/a/log.txt states=runs/b/log.txt --out losses.png

Reads logs of fairseq-train with --log-format json, or fairseq-hydra-train's hydra_train.log. Losses of
different methods are not comparable.
"""

import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from launcher.arguments import Parser
from launcher.report import plots
from launcher.report.plots import BASELINE, MARGIN, MARK, STYLES
from launcher.results.logs import logged, validations

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TRAINED = ("train_inner",)
SIZE = (5.6, 3.6)  # inches
NAMED = re.compile(r"(?:([\w.+-]+)=)?(.+)")


@dataclass(frozen=True)
class Curve:
    """One metric of a run by update, in training and in validation."""

    name: str
    trained: Mapping[int, float]
    validated: Mapping[int, float]


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw the plot and return exit status 0. Errors exit with a message."""
    parser = _parser()
    args = parser.parse_args(arguments)
    if not plots.available():
        parser.error("the plot needs matplotlib, which is not installed: pip install matplotlib")
    if len(args.logs) > 1 + len(STYLES):
        parser.error(f"{len(args.logs)} logs are too many for a plot: give at most {1 + len(STYLES)}")

    curves = []
    for name, log in args.logs:
        try:
            curve = read(name, log, args.metric)
        except OSError as error:
            parser.error(f"{log} cannot be read ({error.strerror}): give a log")
        if not curve.trained and not curve.validated:
            parser.error(
                f"{log} has no {args.metric}: give the log of a training with --log-format json, and a metric in it "
                "(--metric)"
            )
        curves.append(curve)
    try:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        print(plots.save(draw(curves, args.metric), args.out))
    except OSError as error:
        parser.error(f"--out {args.out} cannot be written ({error.strerror}): name another file")
    return 0


def read(name: str, log: Path, metric: str) -> Curve:
    """Read a metric from a log. For an update that was repeated after an interruption, the last value counts."""
    lines = log.read_text("utf-8", errors="replace").splitlines()
    trained = {
        int(values["num_updates"]): float(values[metric])
        for kind, values in logged(lines)
        if kind in TRAINED and metric in values
    }
    validated = {
        update: subsets["valid"][metric]
        for update, subsets in validations(lines).items()
        if metric in subsets.get("valid", {})
    }
    return Curve(name, trained, validated)


def draw(curves: Sequence[Curve], metric: str) -> "Figure":
    """Draw each run in one colour; validations are the larger markers, joined by a line."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=SIZE, layout="constrained")
    axes = figure.subplots()
    for curve, (colour, marker) in zip(curves, (BASELINE, *STYLES), strict=False):
        axes.plot(*_points(curve.trained), ".", color=colour, markersize=2.5, alpha=0.5)
        axes.plot(*_points(curve.validated), color=colour, marker=marker, label=curve.name, **MARK)
    axes.set_xlabel("updates")
    axes.set_ylabel(metric)
    last = max(update for curve in curves for update in (*curve.trained, *curve.validated))
    axes.set_xlim(0, (1 + MARGIN) * last)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(color="#DDDDDD", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, title="dots: training; marks: validation", title_fontsize="small")
    return figure


def _points(by_update: Mapping[int, float]) -> tuple[list[int], list[float]]:
    updates = sorted(by_update)
    return updates, [by_update[update] for update in updates]


def _named_log(text: str) -> tuple[str, Path]:
    name, path = NAMED.fullmatch(text).groups()
    return name or Path(path).parent.name or path, Path(path)


def _parser() -> Parser:
    parser = Parser(__doc__)
    parser.add_argument(
        "logs",
        nargs="+",
        type=_named_log,
        metavar="[NAME=]LOG",
        help="a log, and its name in the legend (default: the name of its folder)",
    )
    parser.add_argument("--metric", default="loss", metavar="NAME", help="metric in the log (default: loss)")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="the PNG to write")
    return parser


if __name__ == "__main__":
    sys.exit(main())
