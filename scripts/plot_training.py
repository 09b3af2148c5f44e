"""Losses over updates, of one training or several: dots a log line, a line through the validations.

    python scripts/plot_training.py runs/small_roberta/log.txt --out loss.png
    python scripts/plot_training.py attention=runs/a/log.txt states=runs/b/log.txt --out losses.png

Reads logs of fairseq-train with --log-format json, or fairseq-hydra-train's hydra_train.log. Losses of
different methods are different things: compare those of one method.
"""

import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from launcher.arguments import Parser
from launcher.report import plots
from launcher.report.curves import BASELINE, MARGIN, MARK, STYLES
from launcher.results import logged, validations

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TRAINED = ("train_inner",)
SIZE = (5.6, 3.6)  # inches
NAMED = re.compile(r"(?:([\w.+-]+)=)?(.+)")


@dataclass(frozen=True)
class Curve:
    """One metric of a training, by update: as it was logged on the way, and in validation."""

    name: str
    trained: Mapping[int, float]
    validated: Mapping[int, float]


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status: 0 it is drawn; what prevents that ends the program with a sentence."""
    parser = _parser()
    args = parser.parse_args(arguments)
    if not plots.available():
        parser.error("the plot needs matplotlib, which is not installed: pip install matplotlib")
    if len(args.logs) > 1 + len(STYLES):
        parser.error(f"{len(args.logs)} logs are more than a plot holds: name {1 + len(STYLES)} at most")

    curves = []
    for name, log in args.logs:
        try:
            curve = read(name, log, args.metric)
        except OSError as error:
            parser.error(f"{log} cannot be read ({error.strerror}): name a log")
        if not curve.trained and not curve.validated:
            parser.error(
                f"{log} tells no {args.metric}: name the log of a training with --log-format json, and a metric in it "
                "(--metric)"
            )
        curves.append(curve)
    try:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        print(plots.save(drawn(curves, args.metric), args.out))
    except OSError as error:
        parser.error(f"--out {args.out} cannot be written ({error.strerror}): name another file")
    return 0


def read(name: str, log: Path, metric: str) -> Curve:
    """That metric in a log; of an update that was trained again after an interruption, what was logged last."""
    lines = log.read_text("utf-8", errors="replace").splitlines()
    trained = {
        int(told["num_updates"]): float(told[metric])
        for kind, told in logged(lines)
        if kind in TRAINED and metric in told
    }
    validated = {
        update: subsets["valid"][metric]
        for update, subsets in validations(lines).items()
        if metric in subsets.get("valid", {})
    }
    return Curve(name, trained, validated)


def drawn(curves: Sequence[Curve], metric: str) -> "Figure":
    """A colour a training; its validations are the larger marks, joined."""
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


def _named(text: str) -> tuple[str, Path]:
    name, path = NAMED.fullmatch(text).groups()
    return name or Path(path).parent.name or path, Path(path)


def _parser() -> Parser:
    parser = Parser(__doc__)
    parser.add_argument(
        "logs",
        nargs="+",
        type=_named,
        metavar="[NAME=]LOG",
        help="a log, and its name (default: its folder's)",
    )
    parser.add_argument(
        "--metric", default="loss", metavar="NAME", help="what is drawn, as the log calls it (default: loss)"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="the PNG to write")
    return parser


if __name__ == "__main__":
    sys.exit(main())
