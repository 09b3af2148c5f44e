"""A model's logits of one split beside the labels, and the file they are kept in."""

from dataclasses import dataclass
from pathlib import Path
from typing import Optional

import numpy as np

from ..models.checkpoint import NAMES_IN_FOLDER
from .files import atomic_write


@dataclass(frozen=True)
class Predictions:
    """N sentences in the data's own order.

    logits  float32 [N, C]; C = 1 for regression
    labels  class numbers, int64 [N]; for regression numbers, float64 [N]; None where there are none
    """

    logits: np.ndarray
    labels: Optional[np.ndarray] = None

    def write(self, path: Path) -> None:
        """Writes a `.npz` of the same two names, aside first: it is there whole or not at all."""
        arrays = {name: value for name, value in vars(self).items() if value is not None}
        with atomic_write(path) as file:
            np.savez(file, **arrays)

    @classmethod
    def read(cls, path: Path) -> "Predictions":
        with np.load(path, allow_pickle=False) as arrays:
            return cls(arrays["logits"], arrays.get("labels"))


def place_of(checkpoint: Path) -> Path:
    """The folder a checkpoint's predictions are kept in: `predictions/` beside it.

    Those of a run's best checkpoint lie there directly, any other's in a folder of its name.
    """
    folder = checkpoint.parent / "predictions"
    return folder if checkpoint.name in NAMES_IN_FOLDER else folder / checkpoint.stem
