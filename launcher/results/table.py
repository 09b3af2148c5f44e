"""Tables of results: mean and deviation over seeds, as Markdown and as CSV."""

import csv
import io
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from ..files import write_text
from ..planning.job import Job
from .cells import Cell, families, group_runs
from .progress import say
from .runs import Run, Score, read_result

NO_VALUE = "-"
IDENTITY = ("task", "method", "init", "mapping", "stages")

WARNING = (
    "The dev scores of a row are the highest mean among its batch sizes and learning rates, so they increase with the "
    "number of combinations tried"
)


def print_table(jobs: Sequence[Job], folder: Path) -> bool:
    """Print the table of all finished runs, then write it; return False if it cannot be written (a full disk)."""
    students = [job for job in jobs if not job.is_teacher]
    metrics = {job.spec.task: job.data.metric for job in students}
    cells = group_runs([Run(job.folder, job.spec, read_result(job.folder)) for job in students], say)
    text = markdown(cells, metrics)
    say(f"\n{text}")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / "table.md", text)
        write_text(folder / "table.csv", as_csv(cells, metrics))
    except OSError as error:
        print(
            f"The table could not be written ({error}): free some space, and run the same command again.",
            file=sys.stderr,
        )
        return False
    say(f"Also in {folder / 'table.md'} and {folder / 'table.csv'}")
    return True


def markdown(cells: Sequence[Cell], metrics: Mapping[str, str]) -> str:
    """Return a Markdown table with mean ± deviation of the best dev scores.

    If cells differ only in batch size or learning rate, their row is the best of them, and a second table shows all.

    metrics  by task
    """
    tuned = len(families(cells)) < len(cells)
    header = [*IDENTITY, "metric", "dev, mean ± sd", *(("chosen", "batch", "lr") if tuned else ())]
    rows = []
    for tried in families(cells):
        score = Score("valid", metrics[tried[0].task])
        best = best_tried(tried, score) or tried[0]
        row = [best.task, *best.place, score.metric, format_average(*best.average(score))]
        if tuned:
            rates = [str(best.rates[0]), f"{best.rates[1]:g}"] if best.runs else ["", ""]
            row += [f"best of {of_tried(tried, score)}", *rates]
        rows.append([*row, seeds_of(best), format_number(best.seconds, ".0f")])
    table = markdown_table([*header, "seeds", "seconds a seed"], rows)
    if not tuned:
        return table

    tables = [tried_table(tried, Score("valid", metrics[tried[0].task])) for tried in families(cells)]
    columns = sorted({rates for tried in tables for rates in tried})
    lines = [
        [tried[0].task, *tried[0].place, *(means.get(rates, "") for rates in columns)]
        for tried, means in zip(families(cells), tables, strict=True)
    ]
    every = markdown_table([*IDENTITY, *(setting_name(*rates) for rates in columns)], lines)
    return f"{table}\n{WARNING}. All, by batch size and learning rate:\n\n{every}"


def as_csv(cells: Sequence[Cell], metrics: Mapping[str, str]) -> str:
    """Return all cells as CSV, with every batch size and learning rate, and the score of every seed."""
    header = [
        *(*IDENTITY, "metric", "batch_size", "lr", "mean", "deviation", "seeds", "planned"),
        *("seconds_per_seed", "scores", "tried", "best_of_tried"),
    ]
    family_of = {cell: tried for tried in families(cells) for cell in tried}
    lines = []
    for cell in cells:
        score, tried = Score("valid", metrics[cell.task]), family_of[cell]
        numbers = [format_number(number, ".4f", "") for number in cell.average(score)]
        scores = " ".join(f"{seed}:{value}" for seed, value in cell.scores(score).items())
        effort = [len(cell.runs), cell.planned, format_number(cell.seconds, ".1f", "")]
        chosen = [len(tried), int(cell is best_tried(tried, score))]
        rates = [cell.rates[0], f"{cell.rates[1]:g}"]
        lines.append([cell.task, *cell.place, score.metric, *rates, *numbers, *effort, scores, *chosen])
    return csv_text(header, lines)


def best_tried(tried: Sequence[Cell], score: Score) -> Cell | None:
    """Return the first cell with the highest mean over seeds, among those with the most seeds; None without scores.

    A cell with fewer seeds is not compared, because a mean over few seeds is more often high by chance.
    """
    finished = [cell for cell in tried if cell.scores(score)]
    return max(
        finished, key=lambda cell: (len(cell.scores(score)), mean(cell.scores(score).values())), default=None
    )


def tried_table(tried: Sequence[Cell], score: Score) -> dict[tuple[int, float], str]:
    """Return the mean of each cell by batch size and learning rate; the best ones, equal at two decimals, are bold."""
    best = _all_best(tried, score)
    means = {cell: format_number(cell.average(score)[0], ".2f", "") for cell in tried}
    return {cell.rates: f"**{text}**" if cell in best else text for cell, text in means.items()}


def of_tried(tried: Sequence[Cell], score: Score) -> str:
    """Return how many cells were compared: `8`, or `5 of 8` while some lack seeds; `8, 2 alike` for equal scores."""
    seeds = [len(cell.scores(score)) for cell in tried]
    compared = seeds.count(max(seeds)) if any(seeds) else 0
    among = str(compared) if compared == len(tried) else f"{compared} of {len(tried)}"
    alike = len(_all_best(tried, score))
    return f"{among}, {alike} alike" if alike > 1 else among


def _all_best(tried: Sequence[Cell], score: Score) -> list[Cell]:
    """Return the best cell and those with the same score at two decimals; empty without scores."""

    def shown(cell: Cell) -> tuple[int, str]:
        return len(cell.scores(score)), format_number(cell.average(score)[0], ".2f")

    best = best_tried(tried, score)
    return [] if best is None else [cell for cell in tried if shown(cell) == shown(best)]


def setting_name(batch_size: int, lr: float) -> str:
    """Return a batch size and learning rate as `16, 3e-05`."""
    return f"{batch_size}, {lr:g}"


def seeds_of(cell: Cell) -> str:
    """Return the number of finished seeds: `4`, or `3 of 4`."""
    return str(cell.planned) if len(cell.runs) == cell.planned else f"{len(cell.runs)} of {cell.planned}"


def format_average(average: float | None, deviation: float | None) -> str:
    """Return `83.00 ± 3.61`; without a deviation `83.00`, without both `-`."""
    return format_number(average, ".2f") + ("" if deviation is None else f" ± {deviation:.2f}")


def format_number(value: float | None, form: str, missing: str = NO_VALUE) -> str:
    """Return a number in a format, or `missing` for None."""
    return missing if value is None else f"{value:{form}}"


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table; empty cells are `-`."""
    lines = [header, ["---"] * len(header), *rows]
    texts = ([str(text).replace("|", r"\|") or NO_VALUE for text in line] for line in lines)
    return "".join(f"| {' | '.join(line)} |\n" for line in texts)


def csv_text(header: Sequence[str], lines: Iterable[Sequence[Any]]) -> str:
    """Return a CSV file as text."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([header, *lines])
    return text.getvalue()
