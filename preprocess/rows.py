"""Converts a table to sentences and labels; drops or rejects invalid rows."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

from .errors import DataError
from .tables import Table, column
from .tasks import TASKS, Task

NO_LABEL = "no label"
MALFORMED = "malformed"
UNLABELLED = "unlabelled"  # name of the split of texts without labels
ANNOTATOR = re.compile(r"label\d+")  # name of a column with one annotator's label
ANNOTATORS = (1, 5)  # annotator labels in a row of SNLI or MNLI: the author's, and often four more


@dataclass
class Rows:
    """Sentences of one split.

    texts     one list per text column, of equal length
    labels    class numbers, or scores from 0 to 1; None if the split has no labels
    dropped   reason -> number of dropped rows
    repaired  number of malformed rows kept in an unlabelled split, which needs one prediction per row
    reports   one line per malformed row: file, line, reason
    available number of usable rows in the file before a selection (0: no selection)
    without_label  texts of the rows that were dropped because they have no label, one list per text column
    """

    texts: list[list[str]]
    labels: list[float] | None
    dropped: Counter[str] = field(default_factory=Counter)
    repaired: int = 0
    reports: list[str] = field(default_factory=list)
    available: int = 0
    without_label: list[list[str]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.texts[0])

    def take(self, numbers: list[int], with_record: bool = True) -> "Rows":
        """Return the rows with these indices, with or without the record of dropped rows."""
        texts = [[column[i] for i in numbers] for column in self.texts]
        labels = None if self.labels is None else [self.labels[i] for i in numbers]
        record = (self.dropped, self.repaired, self.reports) if with_record else (Counter(), 0, [])
        return Rows(
            texts, labels, *record, self.available or len(self), self.without_label if with_record else []
        )


def read_rows(table: Table, task: Task, split: str, strict: bool = False) -> Rows:
    """Return the sentences and labels of a split.

    strict  raise DataError for a malformed row, instead of dropping it

    Raises DataError for an unknown label, or if no row is usable.
    """
    if task.unlabelled is not None:
        table = _align_annotators(table, task)
    columns = [column(table, names) for names in task.text]
    label_column = _label_column(table, task, split)
    bad = {**_not_text(table, columns), **table.bad}
    reports = [f"{table.place(number)}: {bad[number]}" for number in sorted(bad)]
    if strict and reports:
        raise DataError(f"{reports[0]}; {len(reports)} malformed rows: correct them, or leave out --strict.")

    if split == UNLABELLED:
        usable = [row for number, row in enumerate(table.rows) if number not in bad]
        return Rows([_strip(usable, c) for c in columns], None, +Counter({MALFORMED: len(bad)}), 0, reports)
    if label_column is None:
        # No row is dropped: a submission needs a prediction for every row of the file.
        rows = table.rows
        texts = [[_text_at(row, c) for row in rows] if bad else _strip(rows, c) for c in columns]
        return Rows(texts, None, repaired=len(bad), reports=reports)

    numbers = [i for i in range(len(table.rows)) if i not in bad] if bad else list(range(len(table.rows)))
    labels = _labels(table, task, numbers, label_column)
    kept = [(i, label) for i, label in zip(numbers, labels, strict=True) if label is not None]
    rows = [table.rows[i] for i, _ in kept]
    if not rows:
        raise DataError(f"{table.path}: none of its {len(table.rows)} rows is usable: name another file.")

    unlabelled = [table.rows[i] for i, label in zip(numbers, labels, strict=True) if label is None]
    dropped = Counter({MALFORMED: len(bad), NO_LABEL: len(unlabelled)})
    return Rows(
        [_strip(rows, c) for c in columns],
        [label for _, label in kept],
        +dropped,
        0,
        reports,
        without_label=[_strip(unlabelled, c) for c in columns],
    )


def _align_annotators(table: Table, task: Task) -> Table:
    """Return the table with the same number of annotator columns in every row as in the header.

    Rows of one file may have one or five annotator labels, for example in GLUE's SNLI/train.tsv. Rows are aligned
    only if all annotator fields are labels, so a stray tab in a sentence still makes a row malformed.
    """
    annotators = [i for i, name in enumerate(table.names) if ANNOTATOR.fullmatch(name)]
    if table.typed or not table.bad or not annotators:
        return table
    first, after = annotators[0], len(table.names) - annotators[-1] - 1
    known = {*task.labels, task.unlabelled, ""}

    rows, bad = list(table.rows), dict(table.bad)
    for number in table.bad:
        row = rows[number]
        end = len(row) - after
        if end - first in ANNOTATORS and known.issuperset(field.strip() for field in row[first:end]):
            rows[number] = [*row[:first], *[""] * len(annotators), *row[end:]]
            del bad[number]
    return replace(table, rows=rows, bad=bad)


def _label_column(table: Table, task: Task, split: str) -> int | None:
    """Return the index of the label column; None for a test split without labels (-1 in Hugging Face data)."""
    found = column(table, task.label)
    if split == UNLABELLED:
        return None
    if not split.startswith("test"):
        return found
    if found is not None and table.typed and all(row[found] in (-1, None) for row in table.rows):
        return None
    empty = task.unlabelled == "" and found is not None and not table.typed
    if empty and not any(
        row[found].strip() for number, row in enumerate(table.rows) if number not in table.bad
    ):
        return None
    return found


def _labels(table: Table, task: Task, numbers: list[int], column: int) -> list[float | None]:
    """Return the labels of the rows with these indices; None if the annotators did not agree on one."""
    values = [plain_label(table.rows[i][column]) for i in numbers]

    # There are few distinct values; parse each once. True, 1 and 1.0 are equal, so types are part of the key.
    keys = [(type(value), value) for value in values]
    known = {key: _label(key[1], task, table.typed) for key in set(keys)}
    labels = [known[key] for key in keys]
    if _UNKNOWN in known.values():
        first = labels.index(_UNKNOWN)
        lowest, highest = task.scores
        numbers_of_any_size = "a number" if highest > 1e300 else f"a score from {lowest:g} to {highest:g}"
        expected = numbers_of_any_size if task.regression else ", ".join(task.labels)
        fix = "or name another task" if task.name in TASKS else "or the flags of the labels"
        if numbers[first] == 0 and task.headerless == tuple(table.names):
            fix = "or, if this line is a header, remove --columns"
        raise DataError(
            f"{table.place(numbers[first])} has the label {values[first]!r}, expected for {task.name}: {expected}; "
            f"correct the file, {fix}."
        )
    return labels


_UNKNOWN: Any = object()


def _label(value: str | float | None, task: Task, typed: bool) -> float | None:
    """Return the label of one row; None if the annotators did not agree, _UNKNOWN if it is not one of the task's."""
    name = label_name(value)
    if name in task.labels:
        return task.labels.index(name)
    if task.unlabelled is not None and (value == task.unlabelled or (typed and _is_missing(value, task))):
        return None
    if task.regression:
        try:
            score = float(value)
        except (TypeError, ValueError):
            return _UNKNOWN
        return score / task.score_scale if task.scores[0] <= score <= task.scores[1] else _UNKNOWN
    # Integers of Hugging Face data are class numbers, if no class is named by a number.
    numbered = typed and task.numbered and not any(map(_is_number, task.labels))
    if numbered and isinstance(value, int) and not isinstance(value, bool) and 0 <= value < len(task.labels):
        return value
    return _UNKNOWN


def plain_label(value: Any) -> str | int | float | None:
    """Return a stored label as text, a number or None: decimals as floats, dates as text, lists as their spelling."""
    if isinstance(value, str):
        return value.strip()
    if value is None or isinstance(value, int | float):
        return value
    if isinstance(value, Decimal):
        return float(value)
    return repr(value) if isinstance(value, list | dict) else str(value)


def label_name(value: object) -> str:
    """Return the class name of a label: of a number, its digits, also if it is stored as 3.0; true or false."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip()


def _is_number(name: str) -> bool:
    try:
        float(name)
    except ValueError:
        return False
    return True


def _is_missing(value: str | float | None, task: Task) -> bool:
    """Return whether a value of a JSON, parquet or arrow file means that the row has no label."""
    return value is None or value != value or (value == -1 and not task.regression)


def _not_text(table: Table, columns: list[int]) -> dict[int, str]:
    if not table.typed:
        return {}
    return {
        number: f"{table.names[c]} is {row[c]!r}, not text"
        for c in columns
        for number, row in enumerate(table.rows)
        if not _is_text(row[c])
    }


def _is_text(value: object) -> bool:
    """Return whether this is a string without lone surrogates, which JSON allows but UTF-8 does not."""
    return isinstance(value, str) and (value.isascii() or not any("\ud800" <= c <= "\udfff" for c in value))


def _strip(rows: Sequence[Sequence[Any]], column: int) -> list[str]:
    """Return the column's text without surrounding whitespace, as in fairseq's BPE script."""
    return [row[column].strip() for row in rows]


def _text_at(row: Sequence[Any], column: int) -> str:
    text = row[column] if column < len(row) else ""
    return text.strip() if _is_text(text) else ""
