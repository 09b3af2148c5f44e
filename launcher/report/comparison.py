"""Scores of a task's runs from their saved predictions, and differences between cells."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .bootstrap import Difference, difference, resample
from .cells import Cell
from .metrics import scorer
from .predictions import Predictions, read_predictions, same_labels
from .runs import Run

# Points by which rounding can change a score. One other prediction changes it by 0.01 points or more,
# for up to 10,000 sentences.
ROUNDING = 0.005

REMEDY = "call experiments.py again, or scripts/predict.py --checkpoint RUN --data DIR"


@dataclass(frozen=True)
class Scored:
    """Scores of R runs that predict the same sentences.

    columns  run name -> column in `whole` and `samples`
    whole    [R]     metric on the whole split
    samples  [S, R]  metric on bootstrap samples
    """

    columns: dict[str, int]
    whole: NDArray
    samples: NDArray
    sentences: int


class Comparisons:
    """Compares the cells of one task by one metric on one split."""

    def __init__(self, groups: Sequence[Scored], seed: int) -> None:
        self.groups, self.seed = groups, seed

    def __call__(self, ours: Cell, theirs: Cell) -> Difference | None:
        """Return `ours` minus `theirs` over the seeds for which both have predictions; None without such seeds."""
        seeds = sorted(ours.runs.keys() & theirs.runs.keys())
        names = [(ours.runs[seed].name, theirs.runs[seed].name) for seed in seeds]
        for group in self.groups:
            pairs = [
                (group.columns[our], group.columns[their])
                for our, their in names
                if our in group.columns and their in group.columns
            ]
            if pairs:
                left, right = (list(side) for side in zip(*pairs, strict=True))
                samples = group.samples[:, left] - group.samples[:, right]
                return difference(group.whole[left], group.whole[right], samples, group.sentences, self.seed)
        return None


def compare(
    runs: Sequence[Run], subset: str, metric: str, samples: int, seed: int, note: Callable[[str], None]
) -> Comparisons:
    """Read and score the predictions of finished runs of one task.

    note  called with a message for each file that is damaged, missing, has other labels than those of the
          other runs, or another score than the run's log
    """
    found: dict[str, Predictions] = {}
    lacking: list[Run] = []
    for run in runs:
        try:
            predictions = read_predictions(run.folder, subset)
        except ValueError as error:
            note(f"{error}, so its run is not compared: delete it, then {REMEDY}")
            continue
        if predictions is None:
            lacking.append(run)
        else:
            found[run.name] = predictions
    if lacking:
        note(
            f"{len(lacking)} of {len(runs)} finished runs of {runs[0].spec.task} have no predictions of {subset}, "
            f"so they are not compared (the first is {lacking[0].folder}): {REMEDY}"
        )

    groups = []
    for members in _by_labels(found, note):
        logits = np.stack([predictions.logits for predictions in members.values()])
        labels = next(iter(members.values())).labels
        try:
            score = scorer(metric, logits, labels)
        except ValueError as error:
            note(f"{next(iter(members.values())).path} is not compared: {error}")
            continue
        whole = score(np.ones((1, len(labels))))[0]
        columns = {name: column for column, name in enumerate(members)}
        groups.append(Scored(columns, whole, resample(score, len(labels), samples, seed), len(labels)))

    for run in runs:
        for group in groups:
            if run.name in group.columns:
                _check(run, subset, metric, float(group.whole[group.columns[run.name]]), note)
    return Comparisons(groups, seed)


def _by_labels(found: dict[str, Predictions], note: Callable[[str], None]) -> list[dict[str, Predictions]]:
    groups: list[dict[str, Predictions]] = []
    for name, predictions in found.items():
        firsts = [next(iter(group.values())) for group in groups]
        same = [group for group, first in zip(groups, firsts, strict=True) if same_labels(first, predictions)]
        if same:
            same[0][name] = predictions
            continue
        if groups:
            note(
                f"{firsts[0].path} and {predictions.path} have labels of different sentences, so they are not "
                "compared: predict both on the same data with scripts/predict.py"
            )
        groups.append({name: predictions})
    return groups


def _check(run: Run, subset: str, metric: str, recomputed: float, note: Callable[[str], None]) -> None:
    logged = run.score(subset, metric)
    if logged is not None and abs(recomputed - logged) > ROUNDING:
        note(
            f"{run.folder} logged {metric} {logged:.4f} on {subset}, but its predictions give {recomputed:.4f}: they have "
            "another checkpoint, precision or data; or, in 16 bits, rounding changed some predictions, because attention "
            "is computed differently for criterions that use its scores"
        )
