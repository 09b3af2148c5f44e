"""What came of a run: read from its log, kept in its `result.json`."""

import contextlib
import json
import math
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

# As fairseq-train writes them, and as fairseq-hydra-train does.
LOGGED = re.compile(r"(?:\| (\w+) \| |\[(\w+)\]\[INFO\] - )(\{.*\})\s*$")
SUBSET = re.compile(r"valid\d*")

PEAK = re.compile(r'"(?:train_)?peak_gb": "([\d.]+)"')

# Counts and clocks, which say nothing of the model.
NOT_METRICS = frozenset({"wps", "wpb", "bsz", "num_updates"})


def logged(log: Iterable[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """What the lines in JSON say, each with its kind: train_inner, train, valid, valid1, ..

    A line that a kill left half written is passed over: what it said comes again.
    """
    for line in log:
        match = LOGGED.search(line)
        if match is not None:
            with contextlib.suppress(ValueError):
                yield match[1] or match[2], json.loads(match[3])


def validations(log: Iterable[str]) -> dict[int, dict[str, dict[str, float]]]:
    """Metrics by update and subset; a validation that was repeated after an interruption counts once."""
    found: dict[int, dict[str, dict[str, float]]] = {}
    for subset, told in logged(log):
        if not SUBSET.fullmatch(subset):
            continue
        plain = {key.removeprefix(f"{subset}_"): value for key, value in told.items()}
        scores = {
            key: float(value)
            for key, value in plain.items()
            if key not in NOT_METRICS and key != "epoch" and not key.startswith("best_")
        }
        found.setdefault(int(plain["num_updates"]), {})[subset] = scores
    return dict(sorted(found.items()))


def best_update(found: dict[int, dict[str, dict[str, float]]], metric: str) -> int:
    """The update whose checkpoint is the best: highest `metric` of the first subset, lowest for a loss.

    Of equal ones the last, as fairseq's checkpoint_best.pt is. ValueError says what is missing from the log.
    """
    if not found:
        raise ValueError("its log holds no validation")

    scores = {update: subsets.get("valid", {}).get(metric, math.nan) for update, subsets in found.items()}
    scores = {update: score for update, score in scores.items() if not math.isnan(score)}
    if not scores:
        logged = ", ".join(next(iter(found.values())).get("valid", {}))
        raise ValueError(f"its validations never tell {metric}, only {logged}")
    best = min(scores.values()) if metric == "loss" else max(scores.values())
    return max(update for update, score in scores.items() if score == best)


def peak_memory(log: Iterable[str]) -> float | None:
    """The most memory the training ever held, in GiB (see `fairseq_kd/memory.py`); None where its log tells none."""
    return max((float(peak) for line in log for peak in PEAK.findall(line)), default=None)


def summarize(log: Path, metric: str) -> dict[str, Any]:
    """The scores of a finished run, at its best checkpoint and at its end, and the memory it took."""
    with open(log, encoding="utf-8", errors="replace") as file:
        lines = list(file)
    found = validations(lines)
    update = best_update(found, metric)
    return {
        "metric": metric,
        "best": found[update]["valid"][metric],
        "best_update": update,
        "at_best": found[update],
        "at_end": found[max(found)],
        "peak_gb": peak_memory(lines),
    }


def read_result(folder: Path) -> dict[str, Any] | None:
    """The result of a finished run; None where it is not finished."""
    try:
        return json.loads((folder / "result.json").read_text("utf-8"))
    except (FileNotFoundError, ValueError):
        return None
