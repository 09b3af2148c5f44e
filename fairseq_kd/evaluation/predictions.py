"""A model's logits and labels of one split, and their file."""

from dataclasses import dataclass
from pathlib import Path
from typing import Optional

import numpy as np

from ..models.checkpoint import NAMES_IN_FOLDER
from .output_file import atomic_write


@dataclass(frozen=True)
class Predictions:
    """Logits and labels of N sentences, in the order of the data.

    logits  float32 [N, C]; C = 1 for regression
    labels  class numbers, int64 [N]; for regression, numbers, float64 [N]; None without labels
    """

    logits: np.ndarray
    labels: Optional[np.ndarray] = None

    def write(self, path: Path) -> None:
        """Write a `.npz` with arrays `logits` and `labels` atomically."""
        arrays = {name: value for name, value in vars(self).items() if value is not None}
        with atomic_write(path) as file:
            np.savez(file, **arrays)

    @classmethod
    def read(cls, path: Path) -> "Predictions":
        with np.load(path, allow_pickle=False) as arrays:
            return cls(arrays["logits"], arrays.get("labels"))


def predictions_folder(checkpoint: Path) -> Path:
    """Return the folder of a checkpoint's predictions: `predictions/` next to it.

    Predictions of a run's best checkpoint are directly in it, those of others in a subfolder with the checkpoint's name.
    """
    folder = checkpoint.parent / "predictions"
    return folder if checkpoint.name in NAMES_IN_FOLDER else folder / checkpoint.stem
