"""Reads the rows of each split: joins shards, splits off dev and test sets and selects training sentences."""

import hashlib
from collections.abc import Callable
from pathlib import Path

from .errors import DataError
from .meta import Options
from .rows import UNLABELLED, Rows, read_rows
from .sources import Source
from .tables import Table, read_lines, read_table
from .tasks import Task

DUPLICATE = "repeated"


def read_splits(
    task: Task, sources: dict[str, Source], options: Options, report: Callable[[str], None]
) -> dict[str, Rows]:
    """Return the rows of each split, in the task's order; calls `report` for malformed rows."""
    splits = {}
    for split, source in sources.items():
        parts = [
            read_rows(_read(path, content, task, split), task, split, options.strict)
            for path, content in zip(source.paths, source.contents, strict=True)
        ]
        splits[split] = _join(parts)
        _report_malformed(splits[split], report)
        if split == UNLABELLED and not len(splits[split]):
            raise DataError(
                f"--unlabelled {source.names} has no usable text for {task.name}, which has {len(task.text)} text "
                "column(s): give such a file."
            )
    if options.duplicates is not None and "train" in splits:
        splits["train"] = _without_duplicates(splits["train"], options, report)
    splits = _split_and_limit(task, splits, options)
    if options.duplicates is not None:
        _report_leaks(splits, report)
    return splits


def _read(path: Path, content: bytes, task: Task, split: str) -> Table:
    if split == UNLABELLED and path.suffix.lower() == ".txt":
        return read_lines(path, content, [names[0] for names in task.text])
    without_label = split.startswith("test") or split == UNLABELLED
    needed = [*task.text] if without_label else [*task.text, task.label]
    return read_table(path, content, needed, task.headerless, task.delimiter)


def _without_duplicates(training: Rows, options: Options, report: Callable[[str], None]) -> Rows:
    """Report rows with the texts of an earlier row; with `--drop-duplicates`, return the rows without them."""
    first: dict[tuple[str, ...], int] = {}
    repeated, contradicting = [], 0
    for number, texts in enumerate(zip(*training.texts, strict=True)):
        earlier = first.setdefault(texts, number)
        if earlier != number:
            repeated.append(number)
            contradicting += training.labels[earlier] != training.labels[number]
    if not repeated:
        return training
    done = "dropped" if options.duplicates == "drop" else "kept (--drop-duplicates drops them)"
    report(
        f"train: {len(repeated):,} rows repeat the text of an earlier row, {contradicting:,} of them with another label; "
        f"{done}"
    )
    if options.duplicates != "drop":
        return training
    kept = training.take(_others(training, repeated))
    kept.available = 0
    kept.dropped[DUPLICATE] = len(repeated)
    return kept


def _report_leaks(splits: dict[str, Rows], report: Callable[[str], None]) -> None:
    """Report how many rows of the other splits have texts of the training set: their scores would be too high."""
    training = set(zip(*splits["train"].texts, strict=True)) if "train" in splits else set()
    for split, rows in splits.items():
        if split in ("train", UNLABELLED):
            continue
        seen = sum(texts in training for texts in zip(*rows.texts, strict=True))
        if seen:
            report(f"{split}: the texts of {seen:,} of {len(rows):,} rows are also in the training set")


def choose(available: int, number: int, seed: int) -> list[int]:
    """Return `number` of the row indices 0 .. available - 1, sorted: those with the smallest hash of seed and index.

    The selection is the same on every machine and in every version. A smaller selection is a subset of a larger one.
    """
    by_hash = sorted(range(available), key=lambda row: hashlib.sha256(f"{seed}:{row}".encode()).digest())
    return sorted(by_hash[:number])


def _split_and_limit(task: Task, splits: dict[str, Rows], options: Options) -> dict[str, Rows]:
    """Apply --split-test, --split-dev, then --limit-train, so that a limit does not change the other sets."""
    for split, flag, share in (
        ("test", "--split-test", options.split_test),
        ("valid", "--split-dev", options.split_dev),
    ):
        if share is None:
            continue
        training = splits["train"]
        number = round(share * len(training))
        if not 0 < number < len(training):
            raise DataError(
                f"{flag} {share} of {len(training)} training sentences makes an empty split: "
                "give a share between 0 and 1 for which both splits have sentences."
            )
        taken = choose(len(training), number, options.seed)
        rest = _others(training, taken)
        # Dropped rows of the file are counted once, with the training sentences.
        splits["train"], splits[split] = training.take(rest), training.take(taken, with_record=False)
    splits = {name: splits[name] for name in (*task.files, UNLABELLED) if name in splits}

    if "train" not in splits:
        return splits
    train = splits["train"]
    kept = list(range(len(train)))
    if options.limit_train is not None:
        kept = choose(len(train), options.limit_train, options.seed)
        splits["train"] = train.take(kept)
    if options.keep_unlabelled:
        left_out = train.take(_others(train, kept), with_record=False)
        unlabelled = splits.setdefault(UNLABELLED, Rows([[] for _ in task.text], None))
        parts = (unlabelled.texts, train.without_label, left_out.texts)
        unlabelled.texts = [
            [text for column in columns for text in column] for columns in zip(*parts, strict=True)
        ]
        if not len(unlabelled):
            raise DataError(
                "--keep-unlabelled: all training sentences have a label and --limit-train leaves none out: "
                "remove the flag."
            )
    return splits


def _others(rows: Rows, numbers: list[int]) -> list[int]:
    """Return the indices of all other rows, in order."""
    return sorted(set(range(len(rows))) - set(numbers))


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
        for mine, more in zip(first.without_label, part.without_label, strict=True):
            mine.extend(more)
        first.reports += part.reports
    return first


def _report_malformed(rows: Rows, report: Callable[[str], None], most: int = 10) -> None:
    done = "kept with the text that it has" if rows.repaired else "dropped"
    for line in rows.reports[:most]:
        report(f"{line}; {done}")
    if len(rows.reports) > most:
        report(f"... and {len(rows.reports) - most:,} more malformed rows")
