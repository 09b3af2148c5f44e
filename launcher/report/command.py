"""The command `experiments.py report`."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from .. import results
from ..arguments import Parser, positive, tasks
from ..tasks import TASKS
from . import plots
from .cells import Cell, cells, init_order
from .document import document
from .origins import origins
from .runs import Run, read_group
from .study import Study, study
from .tables import cells_csv, differences_csv

DESCRIPTION = """Reads the runs of a group and reports them: scores, differences with intervals, cost, plots.

    python experiments.py report --group first

Trains nothing; a group that is not finished is reported as far as it goes. Prints Markdown and writes
report.md, report.csv (a line a cell), differences.csv (a line a difference), curves-TASK.png and
init-method-TASK.png into OUT/GROUP/report.
"""

BASELINE = "kd"

FEWEST_SAMPLES = 100  # of which 2.5 % are two or three


def main(arguments: Sequence[str]) -> int:
    """Exit status: 0 reported, 2 there is nothing to report, or nothing as named to compare it with."""
    parser = _parser()
    args = parser.parse_args(arguments)
    notes: list[str] = []
    try:
        runs = _selected(read_group(args.out / args.group, notes.append), args.task)
    except ValueError as error:
        parser.error(str(error))

    finished = [run for run in runs if run.result is not None]
    if not finished:
        problems = "".join(f"; {note}" for note in notes)
        parser.error(f"none of the {len(runs)} runs in {args.out / args.group} is finished yet{problems}")

    baseline = args.baseline or BASELINE
    found = cells(runs, baseline, notes.append)
    try:
        _check_compared(found, args.baseline, args.init)
        studies = [
            study(
                task,
                [cell for cell in found if cell.task == task],
                baseline,
                args.samples,
                args.seed,
                notes.append,
                args.init,
            )
            for task in dict.fromkeys(cell.task for cell in found)
        ]
    except ValueError as error:
        parser.error(str(error))
    notes += origins(found)
    methods = dict.fromkeys(cell.method for cell in found)
    if baseline not in methods and len(methods) > 1:
        notes.append(
            f"No cell has the method {baseline}: name one of {' and '.join(methods)} with --baseline"
        )

    folder = args.to or args.out / args.group / "report"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        drawn = _draw(studies, runs, folder, notes)
        progress = (
            f"{len(finished)} of {len(runs)} runs that were started are finished, first stages included."
        )
        text = document(
            f"Group {args.group}",
            progress,
            studies,
            baseline,
            args.samples,
            drawn,
            list(dict.fromkeys(notes)),
        )
        print(text)
        results.write(folder / "report.md", text)
        results.write(folder / "report.csv", cells_csv(studies))
        results.write(folder / "differences.csv", differences_csv(studies))
    except OSError as error:
        parser.error(
            f"the report cannot be written ({error}): make room there, or name another folder with --to"
        )
    print(f"Written to {folder}: {', '.join(sorted(path.name for path in folder.iterdir()))}")
    return 0


def _selected(runs: Sequence[Run], tasks: Sequence[str] | None) -> list[Run]:
    there = dict.fromkeys(run.spec.task for run in runs)
    missing = [task for task in tasks or () if task not in there]
    if missing:
        raise ValueError(f"--task {','.join(missing)} has no runs in this group, only {', '.join(there)} has")
    return [run for run in runs if tasks is None or run.spec.task in tasks]


def _check_compared(found: Sequence[Cell], baseline: str | None, init: str | None) -> None:
    """ValueError where what others are to be compared with is named and not there; None was not named."""
    methods = dict.fromkeys(cell.method for cell in found)
    if baseline not in (None, *methods):
        raise ValueError(
            f"--baseline {baseline} is the method of no run in this group: name one of {' and '.join(methods)}"
        )
    inits = sorted({cell.init for cell in found}, key=init_order)
    if init not in (None, *inits):
        raise ValueError(f"--init {init} is of no run in this group: name one of {' and '.join(inits)}")


def _draw(
    studies: Sequence[Study], runs: Sequence[Run], folder: Path, notes: list[str]
) -> dict[str, list[Path]]:
    if not plots.available():
        notes.append("There are no plots, because matplotlib is not installed: pip install matplotlib")
        return {}
    return {one.task: plots.draw(one, runs, folder) for one in studies if one.scores}


def _samples(text: str) -> int:
    number = positive(text)
    if number < FEWEST_SAMPLES:
        raise argparse.ArgumentTypeError(f"{text} are too few for an interval: give {FEWEST_SAMPLES} or more")
    return number


def _parser() -> Parser:
    parser = Parser(DESCRIPTION)
    parser.prog = f"{Path(sys.argv[0]).name} report"
    parser.add_argument(
        "--out", type=Path, default=Path("runs"), metavar="DIR", help="where groups lie (default: runs)"
    )
    parser.add_argument(
        "--group", default="default", metavar="NAME", help="the group's folder in OUT (default: default)"
    )
    parser.add_argument(
        "--task",
        "-t",
        type=tasks,
        metavar="A,B",
        help=f"of {', '.join(TASKS)} (default: all that the group has)",
    )
    parser.add_argument(
        "--baseline",
        metavar="METHOD",
        help=f"what cells are compared with (default: {BASELINE})",
    )
    parser.add_argument(
        "--init",
        metavar="INIT",
        help="initialisation, or name of a model that was listed, which others are compared with (default: the first in "
        "order of layers, then names)",
    )
    parser.add_argument(
        "--samples",
        type=_samples,
        default=10_000,
        metavar="N",
        help="bootstrap samples behind an interval (default: 10000)",
    )
    parser.add_argument(
        "--seed", type=positive, default=1, metavar="N", help="random seed of the bootstrap (default: 1)"
    )
    parser.add_argument(
        "--to", type=Path, metavar="DIR", help="where the report is written (default: OUT/GROUP/report)"
    )
    return parser
