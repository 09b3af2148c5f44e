"""Weights that methods learn for teacher layers: the attention of `alp_kd` and the gates of `lad`.

Both are metrics of a validation.
"""

import re
from collections.abc import Mapping
from statistics import mean

from ..results.cells import Cell

ALPHA = re.compile(r"alpha_(\d+)_(\d+)")
GATE = re.compile(r"gate_(\d+)")


def attention(scores: Mapping[str, float]) -> dict[tuple[int, int], float]:
    """Return (student layer, teacher layer) -> share of one validation; empty if it has none."""
    matches = ((ALPHA.fullmatch(name), share) for name, share in scores.items())
    return {(int(match[1]), int(match[2])): share for match, share in matches if match}


def gates(scores: Mapping[str, float]) -> dict[int, float]:
    """Return teacher layer -> mean value of its gate in one validation; empty if it has none."""
    matches = ((GATE.fullmatch(name), value) for name, value in scores.items())
    return {int(match[1]): value for match, value in matches if match}


def mean_scores(cell: Cell) -> dict[str, float]:
    """Return the mean over seeds of each dev metric, at the best checkpoint of the stage that logs it."""
    found: dict[str, list[float]] = {}
    for run in cell.trainings:
        for name, value in run.result["at_best"].get("valid", {}).items():
            found.setdefault(name, []).append(value)
    return {name: mean(values) for name, values in found.items()}
