"""Which metrics of which splits a task is judged by, and what tables call them."""

from collections.abc import Iterable
from statistics import mean, stdev
from typing import NamedTuple

# GLUE names two metrics for these tasks, or for this kind of task.
SECOND_METRIC = {"MRPC": "f1", "QQP": "f1", "STS-B": "spearman"}
SPLITS = {"MNLI": {"valid": "matched", "valid1": "mismatched"}}

# Points a plot shows at least, so that noise does not fill it.
SPAN = 4.0


class Score(NamedTuple):
    """A metric of a dev split; the first of a task decides which checkpoint and which cell is the best."""

    subset: str
    metric: str

    def title(self, task: str) -> str:
        """Its name in a table."""
        name = {"f1": "F1", "mcc": "MCC", "pearson": "Pearson", "spearman": "Spearman"}.get(
            self.metric, self.metric
        )
        default = None if self.subset == "valid" else self.subset
        split = SPLITS.get(task, {}).get(self.subset, default)
        return f"{name}, {split}" if split else name


def average(scores: Iterable[float]) -> tuple[float | None, float | None]:
    """Mean, and sample deviation (n - 1); None where there are too few numbers."""
    numbers = list(scores)
    return (mean(numbers) if numbers else None), (stdev(numbers) if len(numbers) > 1 else None)


def at_least(span: float, low: float, high: float) -> tuple[float, float]:
    """The range from `low` to `high`, widened on both sides to `span` where it is narrower."""
    wider = max(0.0, span - (high - low)) / 2
    return low - wider, high + wider
