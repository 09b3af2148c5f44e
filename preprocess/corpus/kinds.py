"""Detects the format of text files from their beginnings.

wiki  WikiExtractor: <doc ...> and </doc> around each article, its title in the first line
json  WikiExtractor --json: each line is an object with an article's "title" and "text"
text  one sentence or paragraph per line, a blank line between documents
book  one document per file, wrapped lines, a blank line between paragraphs
"""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from ..errors import DataError
from ..file_types import open_text

KINDS = ("wiki", "json", "text", "book")
SAMPLE = 32  # maximum number of inspected files, roughly
HEAD = 65_536  # inspected bytes of each file
WIDEST = 90  # characters: wrapped lines are shorter
ENDED = re.compile(r"""[.!?…]["'”’)\]]*$""")
BEGINNINGS = {"wiki": re.compile(r"<doc "), "json": re.compile(r'\{\s*"[^"\n]*"\s*:')}
SHOWN = {"wiki": "articles in <doc>", "json": "JSON"}


def recognise(given: Path, files: Sequence[tuple[str, Path]]) -> str:
    """Return the kind of `files`, pairs of name and path, detected from the beginnings of a sample.

    Raises DataError if the files are of several kinds.
    """
    step = -(-len(files) // SAMPLE)
    heads = {name: _head(name, path) for name, path in files[::step]}
    marks = {name: _mark(head) for name, head in heads.items()}
    kinds = {*marks.values()}
    if kinds == {None}:
        return "book" if _wrapped(heads.values()) else "text"
    if len(kinds) == 1:
        return kinds.pop()

    one = next(name for name, mark in marks.items() if mark)
    other = next(name for name, mark in marks.items() if mark != marks[one])
    raise DataError(
        f"--input {given}: {one} has {SHOWN[marks[one]]} and {other} does not: use a separate folder and --input for "
        "each kind."
    )


def _head(name: str, path: Path) -> str:
    with open_text(path, name) as file:
        return file.read(HEAD).decode(errors="ignore").replace("\r\n", "\n")


def _mark(head: str) -> str | None:
    """Return the kind if the text has its marks; None for running text."""
    text = head.lstrip("\ufeff \n")
    return next((kind for kind, beginning in BEGINNINGS.items() if beginning.match(text)), None)


def _wrapped(heads: Iterable[str]) -> bool:
    """Return whether lines are short and most sentences continue in the next line."""
    wide, ended, lines, continued = 0, 0, 0, 0
    for head in heads:
        rows = [row.strip() for row in head.split("\n")]
        for row, following in zip(rows, rows[1:], strict=False):
            lines += bool(row)
            wide += len(row) > WIDEST
            if row and following:
                continued += 1
                ended += ENDED.search(row) is not None
    return continued > 0 and wide < 0.05 * lines and ended < 0.5 * continued
