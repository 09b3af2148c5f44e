"""What came of a run: read from its log, kept in its `result.json`."""

import contextlib
import json
import math
import re
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

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


SECONDS_BETWEEN_LOOKS = 1.0
KNOWN_BY = 1 << 10  # bytes before the place that was read to: some lines, each with the time it was logged

# (update, subset, metrics)
Tell = Callable[[int, str, dict[str, float]], None]


class Log:
    """What is added to a log from now on; one that was begun anew is read from its start.

    Such a log may be as long as the old one by the time it is looked at: it is known by other bytes where the old
    one was read to.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.read, self.end = 0, b""
        if path.is_file():
            with open(path, "rb") as file:
                self._note(file, file.seek(0, 2))

    def new_lines(self) -> list[str]:
        """Those that were finished since the last call."""
        try:
            with open(self.path, "rb") as file:
                file.seek(self.read - len(self.end))
                if file.read(len(self.end)) != self.end:
                    self.read = file.seek(0)
                whole = file.read().rpartition(b"\n")[0]
                self._note(file, self.read + len(whole) + 1 if whole else self.read)
        except FileNotFoundError:
            return []
        return whole.decode("utf-8", "replace").splitlines()

    def _note(self, file: BinaryIO, read: int) -> None:
        self.read = read
        begin = file.seek(max(0, read - KNOWN_BY))
        self.end = file.read(read - begin)


@contextlib.contextmanager
def following(path: Path, tell: Tell, seconds: float = SECONDS_BETWEEN_LOOKS) -> Iterator[None]:
    """Calls `tell` of each validation that is logged meanwhile, from a thread of its own.

    seconds  between two looks at the log
    """
    log, ended = Log(path), threading.Event()

    def look() -> None:
        for update, subsets in validations(log.new_lines()).items():
            for subset, metrics in subsets.items():
                tell(update, subset, metrics)

    def keep_looking() -> None:
        while not ended.wait(seconds):
            look()
        look()

    thread = threading.Thread(target=keep_looking, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
