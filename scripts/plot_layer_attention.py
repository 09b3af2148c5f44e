"""Plots a heat map of an `alp_kd` run: how much each student layer attends to each teacher layer.

    python scripts/plot_layer_attention.py runs/default/SST-2-alp_kd-0_1_2-one-seed1-2f6c01aa

Reads the validations in the run's log.txt, or in any log of fairseq-train with --log-format json. Draws
the attention of the last one, averaged over the dev sentences. Writes layer_attention.png next to the log.
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from launcher.arguments import Parser
from launcher.report import plots
from launcher.report.layer_weights import attention
from launcher.results.logs import validations

CELL, MARGIN = 0.55, 1.4  # inches
DARK = 0.6  # share above which white text is easier to read than black


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw the plot and return exit status 0. Errors exit with a message."""
    parser = _parser()
    args = parser.parse_args(arguments)
    if not plots.available():
        parser.error("the plot needs matplotlib, which is not installed: pip install matplotlib")

    log = args.run / "log.txt" if args.run.is_dir() else args.run
    try:
        with open(log, encoding="utf-8", errors="replace") as lines:
            found = {
                update: attention(subsets.get("valid", {})) for update, subsets in validations(lines).items()
            }
    except OSError as error:
        parser.error(f"{log} cannot be read ({error.strerror}): give a run directory, or its log")
    found = {update: cells for update, cells in found.items() if cells}
    if not found:
        parser.error(f"{log} has no attention over layers: give a validated alp_kd run, logged as json")
    update = max(found) if args.update is None else args.update
    if update not in found:
        parser.error(f"--update {update} was not validated: choose among {', '.join(map(str, found))}")

    out = args.out or log.with_name("layer_attention.png")
    try:
        draw(found[update], f"attention over teacher layers, update {update}", out)
    except OSError as error:
        parser.error(f"--out {out} cannot be written ({error.strerror}): name another file")
    print(out)
    return 0


def draw(cells: Mapping[tuple[int, int], float], title: str, out: Path) -> None:
    """Draw one row per student layer, the lowest at the bottom; teacher layers out of reach are white."""
    from matplotlib.figure import Figure

    rows, columns = (max(pair[side] for pair in cells) for side in (0, 1))
    grid = [
        [cells.get((row, column), float("nan")) for column in range(1, columns + 1)]
        for row in range(1, rows + 1)
    ]
    figure = Figure(figsize=(columns * CELL + 2 * MARGIN, rows * CELL + MARGIN), layout="constrained")
    axes = figure.subplots()
    extent = (0.5, columns + 0.5, 0.5, rows + 0.5)
    image = axes.imshow(grid, cmap="Blues", vmin=0, vmax=1, aspect="auto", origin="lower", extent=extent)
    for (row, column), share in cells.items():
        ink = "white" if share > DARK else "black"
        axes.text(column, row, f"{share:.2f}", ha="center", va="center", color=ink, fontsize=8)
    axes.set_xticks(range(1, columns + 1))
    axes.set_yticks(range(1, rows + 1))
    axes.set_xlabel("teacher layer")
    axes.set_ylabel("student layer")
    axes.set_title(title, fontsize="medium")
    figure.colorbar(image, ax=axes, label="share, mean over sentences")

    plots.save(figure, out)


def _parser() -> Parser:
    parser = Parser(__doc__)
    parser.add_argument("run", type=Path, metavar="RUN", help="a run directory, which has log.txt; or a log")
    parser.add_argument(
        "--update", type=int, metavar="N", help="update of the validation (default: the last)"
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="the PNG (default: next to the log)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
