"""Reads a run's predictions of a split, RUN/predictions/SPLIT.npz."""

import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


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


def same_labels(one: Predictions, other: Predictions) -> bool:
    """Return whether both have equal labels and shapes, and so presumably the same sentences."""
    return one.logits.shape == other.logits.shape and np.array_equal(one.labels, other.labels)
