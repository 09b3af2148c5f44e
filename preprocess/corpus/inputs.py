"""Finds the files of each --input, in a fixed order."""

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import DataError
from ..file_types import ENDINGS, compression, not_text, read_head
from .kinds import KINDS, recognise


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
        return sum(file.size for file in self.files)


def find_sources(given: Sequence[str]) -> list[Source]:
    """Return the source of each --input. Raises DataError if a file would be read twice."""
    sources = [find_source(one) for one in given]
    seen: dict[str, tuple[int, File]] = {}
    for number, source in enumerate(sources):
        for file in source.files:
            before, same = seen.setdefault(os.path.realpath(file.path), (number, file))
            if same is file:
                continue
            if before == number:
                raise DataError(
                    f"--input {given[number]} has {same.name} twice, also as {file.name}: remove the link."
                )
            raise DataError(
                f"--input {given[before]} and --input {given[number]} both have {file.path}: leave one of them out."
            )
    return sources


def find_source(given: str) -> Source:
    """Return the source for PATH or PATH=kind, a file or folder. Raises DataError if it has no text."""
    path, kind = _parsed(given)
    if not path.exists():
        raise DataError(f"--input {path} does not exist: correct the path.")
    if not path.is_file() and not path.is_dir():
        raise DataError(f"--input {path} is neither a file nor a folder: write its text to a file.")

    paths = [path] if path.is_file() else _files_below(path)
    root = path.absolute().parent
    states = [(found, _state(path, found)) for found in paths]
    files = tuple(
        File(
            found,
            found.absolute().relative_to(root).as_posix(),
            state.st_size,
            state.st_mtime_ns,
            _is_compressed(path, found),
        )
        for found, state in states
        if stat.S_ISREG(state.st_mode) and state.st_size
    )
    if not files:
        what = "is empty" if path.is_file() else "has no file with text"
        raise DataError(f"--input {path} {what}: give a file or folder of text.")
    _check_not_twice(path, files)
    return Source(
        path.absolute().name, kind or recognise(path, [(file.name, file.path) for file in files]), files
    )


def _is_compressed(given: Path, file: Path) -> bool:
    """Return whether a file is compressed. Raises DataError if its first bytes show that it is not text."""
    try:
        head = read_head(file)
    except OSError as error:
        raise _unreadable(given, file, error) from None
    if what := not_text(head):
        raise DataError(f"--input {given}: {file} is {what}, or move it elsewhere.")
    return compression(head) is not None


def _check_not_twice(given: Path, files: Sequence[File]) -> None:
    """Raise DataError if a folder has a file both compressed and decompressed."""
    names = {file.name for file in files}
    for file in files:
        text = file.path.with_suffix("")
        if (
            file.compressed
            and file.path.suffix in ENDINGS
            and file.name.removesuffix(file.path.suffix) in names
        ):
            raise DataError(
                f"--input {given} has {file.path} and {text.name}, which are the same text: remove one of them."
            )


def _parsed(given: str) -> tuple[Path, str | None]:
    path, mark, kind = given.rpartition("=")
    if mark and kind in KINDS:
        return Path(path), kind
    if mark and not Path(given).exists() and Path(path).exists():
        raise DataError(f"--input {given}: {kind!r} is an unknown kind: choose from {', '.join(KINDS)}.")
    return Path(given), None


def _files_below(folder: Path) -> list[Path]:
    """Return all files below a folder except hidden ones, sorted by the bytes of their names on every machine.

    Links are followed. Raises DataError if a folder cannot be read, or if a link makes a cycle.
    """

    def refuse(error: OSError) -> None:
        raise _unreadable(folder, error.filename, error)

    found: list[Path] = []
    for where, folders, files in os.walk(folder, onerror=refuse, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in folders:
            _check_no_loop(folder, Path(where, name))
        found += (Path(where, name) for name in files if not name.startswith("."))
    return sorted(
        found, key=lambda path: path.relative_to(folder).as_posix().encode("utf-8", "surrogateescape")
    )


def _check_no_loop(folder: Path, found: Path) -> None:
    if not found.is_symlink():
        return
    target = found.resolve()
    if any(above.resolve().is_relative_to(target) for above in found.parents):
        raise DataError(
            f"--input {folder}: {found} is a link to {target}, one of its parent folders: remove the link."
        )


def _state(given: Path, file: Path) -> os.stat_result:
    try:
        return file.stat()
    except OSError as error:  # a broken link
        raise _unreadable(given, file, error) from None


def _unreadable(given: Path, found: Path | str, error: OSError) -> DataError:
    return DataError(
        f"--input {given}: {found} cannot be read ({error.strerror}): fix that, or move it elsewhere."
    )
