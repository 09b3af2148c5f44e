"""Parses the logs of fairseq-train: validations, best checkpoint, number of updates, peak memory.

Can follow a log that is being written.
"""

import contextlib
import json
import math
import re
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

# As fairseq-train writes them, and as fairseq-hydra-train does.
LOGGED = re.compile(r"(?:\| (\w+) \| |\[(\w+)\]\[INFO\] - )(\{.*\})\s*$")
SUBSET = re.compile(r"valid\d*")

UPDATES = re.compile(rb'"(?:\w+_)?num_updates": "(\d+)"')
TAIL = 1 << 14  # bytes at the end of a log that contain several counts of updates

PEAK = re.compile(r'"(?:train_)?peak_gb": "([\d.]+)"')

# Counts and times, which are no metrics of the model.
NOT_METRICS = frozenset({"wps", "wpb", "bsz", "num_updates"})


def logged(log: Iterable[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the kind (train_inner, train, valid, valid1, ...) and content of each JSON line.

    An incomplete line, which a running or killed process leaves, is skipped.
    """
    for line in log:
        match = LOGGED.search(line)
        if match is not None:
            with contextlib.suppress(ValueError):
                yield match[1] or match[2], json.loads(match[3])


def validations(log: Iterable[str]) -> dict[int, dict[str, dict[str, float]]]:
    """Return metrics by update and subset; a validation that was repeated after an interruption counts once."""
    found: dict[int, dict[str, dict[str, float]]] = {}
    for subset, line in logged(log):
        if not SUBSET.fullmatch(subset):
            continue
        plain = {key.removeprefix(f"{subset}_"): value for key, value in line.items()}
        scores = {
            key: float(value)
            for key, value in plain.items()
            if key not in NOT_METRICS and key != "epoch" and not key.startswith("best_")
        }
        found.setdefault(int(plain["num_updates"]), {})[subset] = scores
    return dict(sorted(found.items()))


def read_validations(log: Path) -> dict[int, dict[str, dict[str, float]]]:
    """Return the validations in a log file; empty if it cannot be read."""
    try:
        with open(log, encoding="utf-8", errors="replace") as lines:
            return validations(lines)
    except OSError:
        return {}


def updates_done(log: Path) -> int:
    """Return the last number of updates in a fairseq log; 0 if it contains none."""
    try:
        with open(log, "rb") as file:
            file.seek(max(0, file.seek(0, 2) - TAIL))
            found = UPDATES.findall(file.read())
    except FileNotFoundError:
        return 0
    return int(found[-1]) if found else 0


def best_update(found: dict[int, dict[str, dict[str, float]]], metric: str) -> int:
    """Return the update of the best checkpoint: highest `metric` of the first subset, lowest for a loss.

    The last of equal updates, as in fairseq's checkpoint_best.pt. Raises ValueError if the log lacks the metric.
    """
    if not found:
        raise ValueError("its log contains no validation")

    scores = {update: subsets.get("valid", {}).get(metric, math.nan) for update, subsets in found.items()}
    scores = {update: score for update, score in scores.items() if not math.isnan(score)}
    if not scores:
        logged = ", ".join(next(iter(found.values())).get("valid", {}))
        raise ValueError(f"its validations lack {metric}, they have only {logged}")
    best = min(scores.values()) if metric == "loss" else max(scores.values())
    return max(update for update, score in scores.items() if score == best)


def peak_memory(log: Iterable[str]) -> float | None:
    """Return the peak memory of the training, in GiB (see `fairseq_kd/memory.py`); None if the log lacks it."""
    return max((float(peak) for line in log for peak in PEAK.findall(line)), default=None)


def summarize(log: Path, metric: str) -> dict[str, Any]:
    """Return the scores of a finished run, at its best checkpoint and at its end, and its peak memory."""
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


SECONDS_BETWEEN_LOOKS = 1.0

# (update, subset, metrics)
ReportValidation = Callable[[int, str, dict[str, float]], None]


@contextlib.contextmanager
def following(path: Path, report: ReportValidation, seconds: float = SECONDS_BETWEEN_LOOKS) -> Iterator[None]:
    """Call `report` for each validation that is logged meanwhile, from a thread.

    seconds  interval between two reads of the log
    """
    seen, ended = (
        {update: set(subsets) for update, subsets in read_validations(path).items()},
        threading.Event(),
    )

    def read() -> None:
        for update, subsets in read_validations(path).items():
            for subset, metrics in subsets.items():
                if subset not in seen.setdefault(update, set()):
                    seen[update].add(subset)
                    report(update, subset, metrics)

    def keep_reading() -> None:
        while not ended.wait(seconds):
            read()
        read()

    thread = threading.Thread(target=keep_reading, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
