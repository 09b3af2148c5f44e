"""The command `experiments.py report`."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from ..arguments import Parser, positive, tasks
from ..datasets import TASKS
from ..files import write_text
from ..results.cells import Cell, group_runs, init_order, sorted_cells
from ..results.runs import Run, read_group
from . import page, plots
from .document import Report, cells_csv, differences_csv, markdown, provenance_notes
from .study import Study, study

DESCRIPTION = """Reports the runs of a group: scores, differences with confidence intervals, cost and plots.

    python experiments.py report --group first

Starts no training. An unfinished group is reported with the runs finished so far. Prints Markdown and
writes into OUT/GROUP/report: report.html (one page that contains everything), report.md, report.csv (one
line per cell), differences.csv (one line per difference), and the plots init-method-TASK.png,
curves-TASK.png and cost-TASK.png.
"""

BASELINE = "kd"

MIN_SAMPLES = 100  # 2.5 % of them are two or three


def main(arguments: Sequence[str]) -> int:
    """Write the report and return exit status 0. Exits with 2 if there is nothing to report or compare with."""
    parser = _parser()
    args = parser.parse_args(arguments)
    group, folder = args.out / args.group, args.to or args.out / args.group / "report"
    baseline = args.baseline or BASELINE
    notes: list[str] = []
    try:
        runs = _selected(read_group(group, notes.append), args.task)
        finished = sum(run.result is not None for run in runs)
        if not finished:
            problems = "".join(f"; {note}" for note in notes)
            raise ValueError(f"none of the {len(runs)} runs in {group} is finished yet{problems}")
        cells = sorted_cells(group_runs(runs, notes.append), baseline)
        _check_compared(cells, args.baseline, args.init)
        studies = _studies(cells, baseline, args, notes)
    except ValueError as error:
        parser.error(str(error))
    notes += provenance_notes(cells)
    methods = dict.fromkeys(cell.method for cell in cells)
    if baseline not in methods and len(methods) > 1:
        notes.append(
            f"No cell has the baseline method {baseline}: give --baseline, one of {' and '.join(methods)}"
        )

    try:
        folder.mkdir(parents=True, exist_ok=True)
        report = Report(
            title=f"Group {args.group}",
            progress=f"{finished} of {len(runs)} runs that were started are finished, first stages included.",
            studies=studies,
            baseline=baseline,
            samples=args.samples,
            plots=_draw(studies, runs, folder, notes),
            notes=list(dict.fromkeys(notes)),
        )
        text = markdown(report)
        print(text)
        write_text(folder / "report.md", text)
        write_text(folder / "report.html", page.page(report, cells))
        write_text(folder / "report.csv", cells_csv(studies))
        write_text(folder / "differences.csv", differences_csv(studies))
    except OSError as error:
        parser.error(
            f"the report cannot be written ({error}): free some space, or name another folder with --to"
        )
    print(f"Written to {folder}: {', '.join(sorted(path.name for path in folder.iterdir()))}")
    return 0


def _studies(cells: Sequence[Cell], baseline: str, args: argparse.Namespace, notes: list[str]) -> list[Study]:
    """Return the analysis of each task."""
    by_task: dict[str, list[Cell]] = {}
    for cell in cells:
        by_task.setdefault(cell.task, []).append(cell)
    return [
        study(task, of_task, baseline, args.samples, args.seed, notes.append, args.init)
        for task, of_task in by_task.items()
    ]


def _selected(runs: Sequence[Run], tasks: Sequence[str] | None) -> list[Run]:
    found = dict.fromkeys(run.spec.task for run in runs)
    missing = [task for task in tasks or () if task not in found]
    if missing:
        raise ValueError(
            f"--task {','.join(missing)} has no runs in this group: choose among {', '.join(found)}"
        )
    return [run for run in runs if tasks is None or run.spec.task in tasks]


def _check_compared(found: Sequence[Cell], baseline: str | None, init: str | None) -> None:
    """Raise ValueError if the group has no runs of --baseline or --init; None = flag not given."""
    methods = dict.fromkeys(cell.method for cell in found)
    if baseline not in (None, *methods):
        raise ValueError(
            f"--baseline {baseline} has no runs in this group: choose among {' and '.join(methods)}"
        )
    inits = sorted({cell.init for cell in found}, key=init_order)
    if init not in (None, *inits):
        raise ValueError(f"--init {init} has no runs in this group: choose among {' and '.join(inits)}")


def _draw(
    studies: Sequence[Study], runs: Sequence[Run], folder: Path, notes: list[str]
) -> dict[str, dict[str, Path]]:
    if not plots.available():
        notes.append("No plots, because matplotlib is not installed: pip install matplotlib")
        return {}
    return {one.task: plots.draw(one, runs, folder) for one in studies if one.scores}


def _samples(text: str) -> int:
    number = positive(text)
    if number < MIN_SAMPLES:
        raise argparse.ArgumentTypeError(f"{text} are too few for an interval: give {MIN_SAMPLES} or more")
    return number


def _parser() -> Parser:
    parser = Parser(DESCRIPTION)
    parser.prog = f"{Path(sys.argv[0]).name} report"
    parser.add_argument(
        "--out", type=Path, default=Path("runs"), metavar="DIR", help="folder of the groups (default: runs)"
    )
    parser.add_argument(
        "--group", default="default", metavar="NAME", help="folder of the group in OUT (default: default)"
    )
    parser.add_argument(
        "--task",
        "-t",
        type=tasks,
        metavar="A,B",
        help=f"among {', '.join(TASKS)} (default: all tasks of the group)",
    )
    parser.add_argument(
        "--baseline",
        metavar="METHOD",
        help=f"method that the other cells are compared with (default: {BASELINE})",
    )
    parser.add_argument(
        "--init",
        metavar="INIT",
        help="initialisation, or name of a listed model, that the others are compared with (default: the first in order "
        "of layers, then names)",
    )
    parser.add_argument(
        "--samples",
        type=_samples,
        default=10_000,
        metavar="N",
        help="bootstrap samples of an interval (default: 10000)",
    )
    parser.add_argument(
        "--seed", type=positive, default=1, metavar="N", help="random seed of the bootstrap (default: 1)"
    )
    parser.add_argument(
        "--to", type=Path, metavar="DIR", help="folder of the report (default: OUT/GROUP/report)"
    )
    return parser
