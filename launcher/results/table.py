"""Tables of results: mean and deviation over seeds, as Markdown and as CSV."""

import csv
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, stdev
from typing import TypeVar

from ..planning.run_spec import FIRST, RunSpec
from .outcome import Outcome

NOTHING = "-"
IDENTITY = ("task", "method", "init", "mapping", "stages")


@dataclass(frozen=True)
class Row:
    """A cell of the grid with one batch size and learning rate.

    scores   best dev score of each finished seed
    planned  number of seeds
    seconds  mean training time per seed, first stage included; None without a finished seed
    """

    task: str
    method: str
    init: str
    mapping: str
    stages: str
    batch_size: int
    lr: float
    metric: str
    scores: dict[int, float]
    planned: int
    seconds: float | None

    @property
    def cell(self) -> tuple[str, ...]:
        return tuple(getattr(self, name) for name in IDENTITY)

    @property
    def mean(self) -> float | None:
        return mean(self.scores.values()) if self.scores else None

    @property
    def deviation(self) -> float | None:
        """Sample deviation (n - 1); None for fewer than two seeds."""
        return stdev(self.scores.values()) if len(self.scores) > 1 else None


def rows(runs: Sequence[RunSpec], outcomes: Mapping[str, Outcome], metrics: Mapping[str, str]) -> list[Row]:
    """Return a row for each cell, batch size and learning rate, in the order of the plan; metrics by task."""
    groups: dict[tuple, list[RunSpec]] = {}
    for spec in runs:
        if spec.stage != FIRST:
            groups.setdefault((*spec.cell, spec.batch_size, spec.lr), []).append(spec)

    results = {name: outcome.result for name, outcome in outcomes.items() if outcome.result is not None}
    table = []
    for group, specs in groups.items():
        finished = [spec for spec in specs if spec.name in results]
        scores = {spec.seed: results[spec.name]["best"] for spec in finished}
        trainings = {name for spec in finished for name in (spec.name, spec.after)} & results.keys()
        seconds = sum(results[name]["seconds"] for name in trainings) / len(finished) if finished else None
        table.append(Row(*group, metrics[group[0]], scores, len(specs), seconds))
    return table


def markdown(table: Sequence[Row]) -> str:
    """Return a Markdown table with mean ± deviation of the best dev scores.

    If a cell has several batch sizes or learning rates, its row is the best of them, and a second table shows all.
    """
    cells = _cells(table)
    if all(len(tried) == 1 for tried in cells.values()):
        return _markdown(
            [*IDENTITY, "metric", "dev, mean ± sd", "seeds", "seconds a seed"],
            ([*row.cell, row.metric, _score(row), *_effort(row)] for row in table),
        )

    lines = []
    for cell, tried in cells.items():
        best = best_tried(tried, _scores) or tried[0]
        rates = [str(best.batch_size), f"{best.lr:g}"] if best.scores else ["", ""]
        among = of_tried(tried, _scores)
        lines.append([*cell, best.metric, _score(best), "best of " + among, *rates, *_effort(best)])
    header = [*IDENTITY, "metric", "dev, mean ± sd", "chosen", "batch", "lr", "seeds", "seconds a seed"]
    return f"{_markdown(header, lines)}\n{WARNING}. All, by batch size and learning rate:\n\n{_all(cells)}"


def _all(cells: Mapping[tuple, Sequence[Row]]) -> str:
    """Return a table with a column for each batch size and learning rate; the best of each row are bold."""
    columns = sorted({(row.batch_size, row.lr) for tried in cells.values() for row in tried})
    lines = []
    for cell, tried in cells.items():
        best = all_best(tried, _scores)
        shown = {
            (row.batch_size, row.lr): f"**{_mean(row)}**" if row in best else _mean(row) for row in tried
        }
        lines.append([*cell, *(shown.get(column, "") for column in columns)])
    return _markdown([*IDENTITY, *(setting_name(*column) for column in columns)], lines)


def as_csv(table: Sequence[Row]) -> str:
    """Return all rows as CSV, with every batch size and learning rate, and the score of every seed."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        [
            *(*IDENTITY, "metric", "batch_size", "lr", "mean", "deviation", "seeds", "planned"),
            *("seconds_per_seed", "scores", "tried", "best_of_tried"),
        ]
    )
    cells = _cells(table)
    chosen = {cell: best_tried(tried, _scores) for cell, tried in cells.items()}
    for row in table:
        numbers = ["" if number is None else f"{number:.4f}" for number in (row.mean, row.deviation)]
        seconds = "" if row.seconds is None else f"{row.seconds:.1f}"
        scores = " ".join(f"{seed}:{score}" for seed, score in row.scores.items())
        writer.writerow(
            [*row.cell, row.metric, row.batch_size, f"{row.lr:g}", *numbers, len(row.scores), row.planned, seconds,
             scores, len(cells[row.cell]), int(row is chosen[row.cell])]
        )  # fmt: skip
    return text.getvalue()


def _cells(table: Iterable[Row]) -> dict[tuple, list[Row]]:
    cells: dict[tuple, list[Row]] = {}
    for row in table:
        cells.setdefault(row.cell, []).append(row)
    return cells


def _scores(row: Row) -> dict[int, float]:
    return row.scores


def _mean(row: Row) -> str:
    return "" if row.mean is None else f"{row.mean:.2f}"


def _score(row: Row) -> str:
    return _mean(row) + ("" if row.deviation is None else f" ± {row.deviation:.2f}")


def _effort(row: Row) -> list[str]:
    seeds = str(row.planned) if len(row.scores) == row.planned else f"{len(row.scores)} of {row.planned}"
    return [seeds, "" if row.seconds is None else f"{row.seconds:.0f}"]


def _markdown(header: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    shown = ([text or NOTHING for text in line] for line in (header, ["---"] * len(header), *lines))
    return "".join(f"| {' | '.join(line)} |\n" for line in shown)


Tried = TypeVar("Tried")

WARNING = (
    "The dev scores of a row are the highest mean among its batch sizes and learning rates, so they come out higher "
    "the more of them were tried"
)


def best_tried(tried: Sequence[Tried], scores: Callable[[Tried], Mapping[int, float]]) -> Tried | None:
    """Return the first setting with the highest mean over seeds, among those with the most seeds; None without scores.

    scores  by seed

    A setting with fewer seeds is not compared, because a mean over few seeds is more often high by chance.
    """
    finished = [one for one in tried if scores(one)]
    return max(finished, key=lambda one: (len(scores(one)), mean(scores(one).values())), default=None)


def all_best(tried: Sequence[Tried], scores: Callable[[Tried], Mapping[int, float]]) -> list[Tried]:
    """Return the best setting and those with the same score at two decimals; empty without scores."""
    best = best_tried(tried, scores)
    return [] if best is None else [one for one in tried if _shown(scores(one)) == _shown(scores(best))]


def _shown(scores: Mapping[int, float]) -> tuple[int, str]:
    return len(scores), f"{mean(scores.values()):.2f}" if scores else ""


def of_tried(tried: Sequence[Tried], scores: Callable[[Tried], Mapping[int, float]]) -> str:
    """Return how many settings were compared: `8`, or `5 of 8` while some lack seeds; `8, 2 alike` for equal scores."""
    seeds = [len(scores(one)) for one in tried]
    compared = seeds.count(max(seeds)) if any(seeds) else 0
    among = str(compared) if compared == len(tried) else f"{compared} of {len(tried)}"
    alike = len(all_best(tried, scores))
    return f"{among}, {alike} alike" if alike > 1 else among


def setting_name(batch_size: int, lr: float) -> str:
    """Return a batch size and learning rate as `16, 3e-05`."""
    return f"{batch_size}, {lr:g}"
