"""Metrics and splits reported for each task, and their names in tables."""

from collections.abc import Iterable
from statistics import mean, stdev
from typing import NamedTuple

# GLUE has a second metric for these tasks.
SECOND_METRIC = {"MRPC": "f1", "QQP": "f1", "STS-B": "spearman"}
SPLITS = {"MNLI": {"valid": "matched", "valid1": "mismatched"}}

# Minimum range of a plot in points, so that noise does not fill it.
SPAN = 4.0


class Score(NamedTuple):
    """A metric of a dev split. The first of a task selects the best checkpoint and the best cell."""

    subset: str
    metric: str

    def title(self, task: str) -> str:
        """Return the name for tables."""
        name = {"f1": "F1", "mcc": "MCC", "pearson": "Pearson", "spearman": "Spearman"}.get(
            self.metric, self.metric
        )
        default = None if self.subset == "valid" else self.subset
        split = SPLITS.get(task, {}).get(self.subset, default)
        return f"{name}, {split}" if split else name


def average(scores: Iterable[float]) -> tuple[float | None, float | None]:
    """Return mean and sample standard deviation (n - 1); None with too few numbers."""
    numbers = list(scores)
    return (mean(numbers) if numbers else None), (stdev(numbers) if len(numbers) > 1 else None)


def at_least(span: float, low: float, high: float) -> tuple[float, float]:
    """Return the range from `low` to `high`, widened on both sides to at least `span`."""
    wider = max(0.0, span - (high - low)) / 2
    return low - wider, high + wider
