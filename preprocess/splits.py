"""From files to the rows of each split: shards joined, a dev set taken out, training sentences chosen."""

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
    """All rows of every split, in the task's order; `report` is told of malformed ones."""
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
    """`number` of the row numbers 0 .. available - 1, in order: those with the smallest hash of seed and number.

    The same everywhere and in every version, and nested: a smaller choice is part of a larger one.
    """
    by_hash = sorted(range(available), key=lambda row: hashlib.sha256(f"{seed}:{row}".encode()).digest())
    return sorted(by_hash[:number])


def _split_and_limit(task: Task, splits: dict[str, Rows], options: Options) -> dict[str, Rows]:
    """--split-dev first, then --limit-train, so that a limit does not change the dev set."""
    if options.split_dev is not None:
        whole = splits["train"]
        number = round(options.split_dev * len(whole))
        if not 0 < number < len(whole):
            raise DataError(
                f"--split-dev {options.split_dev} of {len(whole)} training sentences leaves an empty split: "
                "give a share between 0 and 1 that leaves sentences on both sides."
            )
        dev = choose(len(whole), number, options.seed)
        rest = sorted(set(range(len(whole))) - set(dev))
        # What was dropped from the file is counted once, with the training sentences.
        splits["train"], splits["valid"] = whole.take(rest), whole.take(dev, with_record=False)
        splits = {name: splits[name] for name in task.files if name in splits}

    if options.limit_train is not None and "train" in splits:
        train = splits["train"]
        splits["train"] = train.take(choose(len(train), options.limit_train, options.seed))
    return splits


def _join(parts: list[Rows]) -> Rows:
    first = parts[0]
    if len({part.labels is None for part in parts}) > 1:
        raise DataError("Some shards of a test split have labels and others none: give shards that agree.")
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
    done = "kept with what text it has" if rows.labels is None else "dropped"
    for line in rows.reports[:most]:
        report(f"{line}; {done}")
    if len(rows.reports) > most:
        report(f"... and {len(rows.reports) - most:,} more malformed rows")
