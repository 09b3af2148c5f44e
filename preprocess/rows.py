"""From a table to sentences and labels: what is dropped, what is an error, what a label becomes."""

import math
import re
from collections import Counter
from dataclasses import dataclass, field, replace

from .errors import DataError
from .tables import Table, column
from .tasks import Task

NO_GOLD = "no gold label"
MALFORMED = "malformed"
TOP_SCORE = 5.0  # STS-B scores run from 0 to 5 and are learned as a share of it
ANNOTATOR = re.compile(r"label\d+")  # name of a column with the label of one annotator
ANNOTATORS = (1, 5)  # labels of a row of SNLI or MNLI: its author's, and often those of four more annotators


@dataclass
class Rows:
    """Sentences of one split.

    texts     one list a text column, all equally long
    labels    class numbers, or scores from 0 to 1, or None where the split has none
    dropped   reason -> rows left out
    repaired  rows of an unlabelled split that were malformed and kept, so that predictions stay one a row
    reports   one line for every malformed row: file, line, reason
    available usable rows of the file, of which some may have been chosen (0: all of them)
    """

    texts: list[list[str]]
    labels: list[int] | list[float] | None
    dropped: Counter[str] = field(default_factory=Counter)
    repaired: int = 0
    reports: list[str] = field(default_factory=list)
    available: int = 0

    def __len__(self) -> int:
        return len(self.texts[0])

    def take(self, numbers: list[int], with_record: bool = True) -> "Rows":
        """The rows of these numbers, with or without the record of what was dropped before."""
        texts = [[column[i] for i in numbers] for column in self.texts]
        labels = None if self.labels is None else [self.labels[i] for i in numbers]
        record = (self.dropped, self.repaired, self.reports) if with_record else (Counter(), 0, [])
        return Rows(texts, labels, *record, available=self.available or len(self))


def read_rows(table: Table, task: Task, split: str, strict: bool = False) -> Rows:
    """The sentences and labels of a split; with `strict` a malformed row is an error."""
    if task.unlabelled is not None:
        table = _align_annotators(table, task)
    columns = [column(table, names) for names in task.text]
    label_column = _label_column(table, task, split)
    bad = {**_not_text(table, columns), **table.bad}
    reports = [f"{table.place(number)}: {bad[number]}" for number in sorted(bad)]
    if strict and reports:
        raise DataError(f"{reports[0]}; {len(reports)} such rows: correct them, or leave out --strict.")

    if label_column is None:
        # Never dropped: a submission needs a prediction for every row of the file.
        rows = table.rows
        texts = [[_text_at(row, c) for row in rows] if bad else _strip(rows, c) for c in columns]
        return Rows(texts, None, repaired=len(bad), reports=reports)

    numbers = [i for i in range(len(table.rows)) if i not in bad] if bad else list(range(len(table.rows)))
    labels = _labels(table, task, numbers, label_column)
    kept = [(i, label) for i, label in zip(numbers, labels, strict=True) if label is not None]
    rows = [table.rows[i] for i, _ in kept]
    if not rows:
        raise DataError(
            f"{table.path}: not one of its {len(table.rows)} rows can be used: name another file."
        )

    dropped = Counter({MALFORMED: len(bad), NO_GOLD: len(numbers) - len(kept)})
    return Rows([_strip(rows, c) for c in columns], [label for _, label in kept], +dropped, 0, reports)


def _align_annotators(table: Table, task: Task) -> Table:
    """Return the table with as many annotator columns in every row as its header has.

    Rows of one file may have one annotator label or five, such as those of GLUE's SNLI/train.tsv. A row is only
    aligned where all annotator fields hold labels, so that a stray tab in a sentence still makes it malformed.
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
    """The label column, or None where a test split has no labels (Hugging Face fills such with -1)."""
    found = column(table, task.label)
    if not split.startswith("test"):
        return found
    if found is not None and table.typed and all(row[found] in (-1, None) for row in table.rows):
        return None
    return found


def _labels(table: Table, task: Task, numbers: list[int], column: int) -> list[int | float | None]:
    """Labels of the rows of these numbers, None where annotators did not agree on one."""
    values = [table.rows[i][column] for i in numbers]
    values = [value.strip() if isinstance(value, str) else value for value in values]
    if table.typed:  # JSON may hold a list or an object where a label should be
        values = [value if isinstance(value, str | int | float | None) else repr(value) for value in values]

    # Few values differ, so each is understood once.
    known = {value: _label(value, task, table.typed) for value in set(values)}
    labels = [known[value] for value in values]
    if _UNKNOWN in known.values():
        first = labels.index(_UNKNOWN)
        expected = "a score from 0 to 5" if task.regression else ", ".join(task.labels)
        raise DataError(
            f"{table.place(numbers[first])} has the label {values[first]!r}, but {task.name} has {expected}: "
            "correct the file or name another task."
        )
    return labels


_UNKNOWN = object()


def _label(value: str | float | None, task: Task, typed: bool) -> int | float | None | object:
    if task.regression:
        try:
            score = float(value)
        except (TypeError, ValueError):
            return _UNKNOWN
        return score / TOP_SCORE if math.isfinite(score) and 0 <= score <= TOP_SCORE else _UNKNOWN

    if task.unlabelled is not None and (value == task.unlabelled or (typed and value == -1)):
        return None
    if typed and isinstance(value, int) and 0 <= value < len(task.labels):
        return int(value)
    return task.labels.index(value) if value in task.labels else _UNKNOWN


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
    """A string without lone surrogates, which JSON can spell but UTF-8 cannot."""
    return isinstance(value, str) and (value.isascii() or not any("\ud800" <= c <= "\udfff" for c in value))


def _strip(rows: list, column: int) -> list[str]:
    """The column's text without blanks around it, as fairseq's own BPE script has it."""
    return [row[column].strip() for row in rows]


def _text_at(row: list, column: int) -> str:
    text = row[column] if column < len(row) else ""
    return text.strip() if _is_text(text) else ""
