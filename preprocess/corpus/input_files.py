"""Finds the files of each --input, in a fixed order, and detects their format.

wiki  WikiExtractor: <doc ...> and </doc> around each article, its title in the first line
json  WikiExtractor --json: each line is an object with an article's "title" and "text"
text  one sentence or paragraph per line, a blank line between documents
book  one document per file, wrapped lines, a blank line between paragraphs
"""

import os
import re
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import DataError
from ..file_types import ENDINGS, compression, not_text, open_text, read_head

KINDS = ("wiki", "json", "text", "book")
SAMPLE = 32  # maximum number of inspected files, roughly
HEAD = 65_536  # inspected bytes of each file
WIDEST = 90  # characters: wrapped lines are shorter
ENDED = re.compile(r"""[.!?…]["'”’)\]]*$""")
BEGINNINGS = {"wiki": re.compile(r"<doc "), "json": re.compile(r'\{\s*"[^"\n]*"\s*:')}
SHOWN = {"wiki": "articles in <doc>", "json": "JSON"}


@dataclass(frozen=True)
class File:
    """A file of the corpus.

    name  path from the input on, without the folders above it
    size  bytes on the disk
    """

    path: Path
    name: str
    size: int
    modified: int
    compressed: bool = False


@dataclass(frozen=True)
class Source:
    """One --input: its files sorted by name, without empty ones."""

    name: str
    kind: str
    files: tuple[File, ...]

    @property
    def size(self) -> int:
        """Return the bytes of all files."""
        return sum(file.size for file in self.files)


def find_sources(given: Sequence[str]) -> list[Source]:
    """Return the source of each --input. Raises DataError if a file would be read twice."""
    sources = [find_source(one) for one in given]
    seen: dict[str, tuple[int, File]] = {}
    for number, source in enumerate(sources):
        for file in source.files:
            before, same = seen.setdefault(os.path.realpath(file.path), (number, file))
            if same is not file:
                raise DataError(
                    f"--input {given[before]} and --input {given[number]} both have {file.path} ({same.name} and "
                    f"{file.name}): leave one of them out, or remove the link."
                )
    return sources


def find_source(given: str) -> Source:
    """Return the source for PATH or PATH=kind, a file or folder. Raises DataError if it has no text."""
    path, kind = _parsed(given)
    if not path.is_file() and not path.is_dir():
        what = "is neither a file nor a folder" if path.exists() else "does not exist"
        raise DataError(f"--input {path} {what}: give a file or folder of text.")

    root = path.absolute().parent
    found = (_file(path, each, root) for each in ([path] if path.is_file() else _files_below(path)))
    files = tuple(file for file in found if file is not None)
    if not files:
        what = "is empty" if path.is_file() else "has no file with text"
        raise DataError(f"--input {path} {what}: give a file or folder of text.")
    names = {file.name for file in files}
    for file in files:
        text = file.name.removesuffix(file.path.suffix)
        if file.compressed and file.path.suffix in ENDINGS and text in names:
            raise DataError(f"--input {path} has {file.name} and {text}, the same text: remove one.")
    return Source(path.absolute().name, kind or detect_kind(path, files), files)


def _file(given: Path, path: Path, root: Path) -> File | None:
    """Return a file; None if it is empty or no regular file. Raises DataError if it is not readable text."""
    try:
        state = path.stat()
        if not stat.S_ISREG(state.st_mode) or not state.st_size:
            return None
        head = read_head(path)
    except OSError as error:  # for example a broken link
        raise _unreadable(given, path, error) from None
    compressed = compression(head) is not None
    if not compressed and (what := not_text(head)):
        raise DataError(f"--input {given}: {path} is {what}, or move it elsewhere.")
    name = path.absolute().relative_to(root).as_posix()
    return File(path, name, state.st_size, state.st_mtime_ns, compressed)


def _parsed(given: str) -> tuple[Path, str | None]:
    path, mark, kind = given.rpartition("=")
    if mark and kind in KINDS:
        return Path(path), kind
    if mark and not Path(given).exists() and Path(path).exists():
        raise DataError(f"--input {given}: {kind!r} is an unknown kind: choose from {', '.join(KINDS)}.")
    return Path(given), None


def _files_below(folder: Path) -> list[Path]:
    """Return all files below a folder except hidden ones, sorted by the bytes of their names on every machine.

    Links are followed. Raises DataError if a folder cannot be read: the system also refuses to follow a cycle of links.
    """

    def refuse(error: OSError) -> None:
        raise _unreadable(folder, error.filename, error)

    found: list[Path] = []
    for where, folders, files in os.walk(folder, onerror=refuse, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += (Path(where, name) for name in files if not name.startswith("."))
    return sorted(
        found, key=lambda path: path.relative_to(folder).as_posix().encode("utf-8", "surrogateescape")
    )


def _unreadable(given: Path, found: Path | str, error: OSError) -> DataError:
    return DataError(f"--input {given}: {found} cannot be read ({error.strerror}): fix or remove it.")


def detect_kind(given: Path, files: Sequence[File]) -> str:
    """Return the kind of the files, detected from the first lines of a sample.

    Raises DataError if the files are of several kinds.
    """
    step = -(-len(files) // SAMPLE)
    heads = {file.name: _head(file) for file in files[::step]}
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


def _head(file: File) -> str:
    with open_text(file.path, file.name) as raw:
        return raw.read(HEAD).decode(errors="ignore").replace("\r\n", "\n")


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
