"""Reads saved predictions of runs, and computes the differences between cells from them."""

import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..results.cells import Cell
from ..results.runs import Run
from .statistics import Difference, difference, resample, scorer

# Points by which rounding can change a score. One other prediction changes it by 0.01 points or more,
# for up to 10,000 sentences.
ROUNDING = 0.005

REMEDY = "run experiments.py again, or scripts/predict.py --checkpoint RUN --data DIR"


@dataclass(frozen=True)
class Comparisons:
    """Compares the cells of one task by one metric on one split, from R runs that predict the same sentences.

    columns  run name -> column in `whole` and `samples`
    whole    [R]     metric on the whole split
    samples  [S, R]  metric on bootstrap samples
    seed     of the bootstrap
    """

    columns: dict[str, int]
    whole: NDArray
    samples: NDArray
    sentences: int
    seed: int

    def __call__(self, ours: Cell, theirs: Cell) -> Difference | None:
        """Return `ours` minus `theirs` over the seeds for which both have predictions; None without such seeds."""
        pairs = []
        for seed in sorted(ours.runs.keys() & theirs.runs.keys()):
            names = (ours.runs[seed].name, theirs.runs[seed].name)
            if self.columns.keys() >= set(names):
                pairs.append([self.columns[name] for name in names])
        if not pairs:
            return None
        left, right = np.transpose(pairs)
        samples = self.samples[:, left] - self.samples[:, right]
        return difference(self.whole[left], self.whole[right], samples, self.sentences, self.seed)


def compare(
    runs: Sequence[Run], subset: str, metric: str, samples: int, seed: int, note: Callable[[str], None]
) -> Comparisons:
    """Read and score the predictions of finished runs of one task.

    note  called with a message for each file that is damaged, missing, has other labels than most, or another score
          than the run's log
    """
    read: dict[str, Predictions] = {}
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
            read[run.name] = predictions
    found = _with_most_frequent_labels(read, note)
    if lacking:
        note(
            f"{len(lacking)} of {len(runs)} finished runs of {runs[0].spec.task} have no predictions of {subset}, "
            f"so they are not compared (the first is {lacking[0].folder}): {REMEDY}"
        )
    if not found:
        return Comparisons({}, np.empty(0), np.empty((0, 0)), 0, seed)

    logits = np.stack([predictions.logits for predictions in found.values()])
    labels = next(iter(found.values())).labels
    try:
        score = scorer(metric, logits, labels)
    except ValueError as error:
        note(f"{next(iter(found.values())).path} is not compared: {error}")
        return Comparisons({}, np.empty(0), np.empty((0, 0)), 0, seed)
    whole = score(np.ones((1, len(labels))))[0]
    columns = {name: column for column, name in enumerate(found)}
    for run in runs:
        if run.name in columns:
            _check(run, subset, metric, float(whole[columns[run.name]]), note)
    return Comparisons(columns, whole, resample(score, len(labels), samples, seed), len(labels), seed)


def _check(run: Run, subset: str, metric: str, recomputed: float, note: Callable[[str], None]) -> None:
    logged = run.score(subset, metric)
    if logged is not None and abs(recomputed - logged) > ROUNDING:
        note(
            f"{run.folder} logged {metric} {logged:.4f} on {subset}, but its predictions give {recomputed:.4f}: they have "
            "another checkpoint, precision or data; or, in 16 bits, rounding changed some predictions, because attention "
            "is computed differently for criterions that use its scores"
        )


@dataclass(frozen=True)
class Predictions:
    """Predictions of a split: logits [N, C], labels [N], in the data's order."""

    path: Path
    logits: NDArray
    labels: NDArray


def read_predictions(run: Path, split: str) -> Predictions | None:
    """Read the predictions; None without a file or labels. Raises ValueError if the file is damaged."""
    path = run / "predictions" / f"{split}.npz"
    try:
        with np.load(path, allow_pickle=False) as arrays:
            if "labels" not in arrays:
                return None
            logits, labels = arrays["logits"], arrays["labels"]
    except FileNotFoundError:
        return None
    except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{path} cannot be read ({type(error).__name__}: {error})") from None

    if logits.ndim != 2 or labels.shape != logits.shape[:1] or not labels.size:
        raise ValueError(f"{path} has logits {logits.shape} and labels {labels.shape}, not [N, C] and [N]")
    if logits.shape[1] > 1 and not (
        np.issubdtype(labels.dtype, np.integer) and 0 <= labels.min() <= labels.max() < logits.shape[1]
    ):
        raise ValueError(f"{path} has labels that are not classes 0..{logits.shape[1] - 1}")
    if not (np.isfinite(logits).all() and np.isfinite(labels).all()):
        raise ValueError(f"{path} has numbers that are not finite")
    return Predictions(path, logits, labels)


def _with_most_frequent_labels(
    read: Mapping[str, Predictions], note: Callable[[str], None]
) -> dict[str, Predictions]:
    """Return the predictions with the most frequent labels, or with those of the first run if several are as frequent."""
    groups: dict[tuple, list[str]] = {}
    for name, predictions in read.items():
        groups.setdefault((predictions.logits.shape, predictions.labels.tobytes()), []).append(name)
    kept = max(groups.values(), key=len, default=[])
    for name, predictions in read.items():
        if name not in kept:
            note(
                f"{read[kept[0]].path} and {predictions.path} have labels of different sentences, so the second is not "
                "compared: predict both on the same data with scripts/predict.py"
            )
    return {name: read[name] for name in kept}
