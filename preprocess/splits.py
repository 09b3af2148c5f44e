"""Reads the rows of each split: joins shards, splits off a dev set and selects training sentences."""

import hashlib
from collections.abc import Callable

from .errors import DataError
from .meta import Options
from .rows import Rows, read_rows
from .sources import Source
from .tables import read_table
from .tasks import Task


def read_splits(
    task: Task, sources: dict[str, Source], options: Options, report: Callable[[str], None]
) -> dict[str, Rows]:
    """Return the rows of each split, in the task's order; calls `report` for malformed rows."""
    splits = {}
    for split, source in sources.items():
        needed = [*task.text] if split.startswith("test") else [*task.text, task.label]
        headerless = () if split.startswith("test") else task.headerless

        parts = []
        for path, content in zip(source.paths, source.contents, strict=True):
            table = read_table(path, content, needed, headerless)
            parts.append(read_rows(table, task, split, options.strict))
        splits[split] = _join(parts)
        _report_malformed(splits[split], report)
    return _split_and_limit(task, splits, options)


def choose(available: int, number: int, seed: int) -> list[int]:
    """Return `number` of the row indices 0 .. available - 1, sorted: those with the smallest hash of seed and index.

    The selection is the same on every machine and in every version. A smaller selection is a subset of a larger one.
    """
    by_hash = sorted(range(available), key=lambda row: hashlib.sha256(f"{seed}:{row}".encode()).digest())
    return sorted(by_hash[:number])


def _split_and_limit(task: Task, splits: dict[str, Rows], options: Options) -> dict[str, Rows]:
    """Apply --split-dev, then --limit-train, so that a limit does not change the dev set."""
    if options.split_dev is not None:
        training = splits["train"]
        number = round(options.split_dev * len(training))
        if not 0 < number < len(training):
            raise DataError(
                f"--split-dev {options.split_dev} of {len(training)} training sentences makes an empty split: "
                "give a share between 0 and 1 for which both splits have sentences."
            )
        dev = choose(len(training), number, options.seed)
        rest = sorted(set(range(len(training))) - set(dev))
        # Dropped rows of the file are counted once, with the training sentences.
        splits["train"], splits["valid"] = training.take(rest), training.take(dev, with_record=False)
        splits = {name: splits[name] for name in task.files if name in splits}

    if options.limit_train is not None and "train" in splits:
        train = splits["train"]
        splits["train"] = train.take(choose(len(train), options.limit_train, options.seed))
    return splits


def _join(parts: list[Rows]) -> Rows:
    first = parts[0]
    if len({part.labels is None for part in parts}) > 1:
        raise DataError("Only some shards of a test split have labels: give all shards labels, or none.")
    for part in parts[1:]:
        for mine, more in zip(first.texts, part.texts, strict=True):
            mine.extend(more)
        if first.labels is not None:
            first.labels.extend(part.labels)
        first.dropped += part.dropped
        first.repaired += part.repaired
        first.reports += part.reports
    return first


def _report_malformed(rows: Rows, report: Callable[[str], None], most: int = 10) -> None:
    done = "kept with the text that it has" if rows.labels is None else "dropped"
    for line in rows.reports[:most]:
        report(f"{line}; {done}")
    if len(rows.reports) > most:
        report(f"... and {len(rows.reports) - most:,} more malformed rows")
