"""Mean and deviation over seeds, as Markdown and as CSV."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, stdev

from .spec import FIRST, RunSpec
from .train import Outcome


@dataclass(frozen=True)
class Row:
    """One cell of the grid.

    scores   best dev score of each finished seed
    planned  how many seeds there are
    seconds  training time of all of them, first stages included
    """

    task: str
    method: str
    init: str
    mapping: str
    stages: str
    metric: str
    scores: dict[int, float]
    planned: int
    seconds: float

    @property
    def mean(self) -> float | None:
        return mean(self.scores.values()) if self.scores else None

    @property
    def deviation(self) -> float | None:
        """Sample deviation (n - 1); None for fewer than two seeds."""
        return stdev(self.scores.values()) if len(self.scores) > 1 else None


def rows(runs: Sequence[RunSpec], outcomes: Mapping[str, Outcome], metrics: Mapping[str, str]) -> list[Row]:
    """A row for each cell, in the order of the plan; metrics by task."""
    cells: dict[tuple, list[RunSpec]] = {}
    for spec in runs:
        if spec.stage != FIRST:
            cells.setdefault(spec.cell, []).append(spec)

    def seconds(name: str) -> float:
        outcome = outcomes.get(name)
        return outcome.result["seconds"] if outcome is not None and outcome.result is not None else 0.0

    table = []
    for cell, specs in cells.items():
        finished = {spec.seed: outcomes.get(spec.name, Outcome(None)).result for spec in specs}
        scores = {seed: result["best"] for seed, result in finished.items() if result is not None}
        spent = sum(seconds(name) for spec in specs for name in (spec.name, spec.after) if name)
        table.append(Row(*cell, metrics[cell[0]], scores, len(specs), spent))
    return table


def markdown(table: Sequence[Row]) -> str:
    """A table to read: mean ± deviation of the best dev scores."""
    lines = [
        "| task | method | init | mapping | stages | metric | dev, mean ± sd | seeds | seconds |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in table:
        score = "-" if row.mean is None else f"{row.mean:.2f}"
        score += "" if row.deviation is None else f" ± {row.deviation:.2f}"
        seeds = str(row.planned) if len(row.scores) == row.planned else f"{len(row.scores)} of {row.planned}"
        cells = (row.task, row.method, row.init, row.mapping or "-", row.stages, row.metric, score, seeds)
        lines.append(f"| {' | '.join(cells)} | {row.seconds:.0f} |")
    return "\n".join(lines) + "\n"


def as_csv(table: Sequence[Row]) -> str:
    """The same for programs, with the score of every seed."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        [
            "task",
            "method",
            "init",
            "mapping",
            "stages",
            "metric",
            "mean",
            "deviation",
            "seeds",
            "seconds",
            "scores",
        ]
    )
    for row in table:
        scores = " ".join(f"{seed}:{score}" for seed, score in row.scores.items())
        numbers = ["" if number is None else f"{number:.4f}" for number in (row.mean, row.deviation)]
        writer.writerow(
            [row.task, row.method, row.init, row.mapping, row.stages, row.metric, *numbers, len(row.scores),
             f"{row.seconds:.1f}", scores]
        )  # fmt: skip
    return text.getvalue()
