"""What --input names: files in a fixed order."""

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
    """A file of the corpus; `name` begins at the input and does not say where that lies. `size` is that on the disk."""

    path: Path
    name: str
    size: int
    modified: int
    compressed: bool = False


@dataclass(frozen=True)
class Source:
    """One --input: its files by name, empty ones left out."""

    name: str
    kind: str
    files: tuple[File, ...]

    @property
    def size(self) -> int:
        return sum(file.size for file in self.files)


def find_sources(given: Sequence[str]) -> list[Source]:
    """The source of each --input; raises DataError where a file would be read twice."""
    sources = [find_source(one) for one in given]
    seen: dict[str, tuple[int, File]] = {}
    for number, source in enumerate(sources):
        for file in source.files:
            before, same = seen.setdefault(os.path.realpath(file.path), (number, file))
            if same is file:
                continue
            if before == number:
                raise DataError(
                    f"--input {given[number]} holds {same.name} twice, also as {file.name}: remove the link."
                )
            raise DataError(
                f"--input {given[before]} and --input {given[number]} both hold {file.path}: leave one of them out."
            )
    return sources


def find_source(given: str) -> Source:
    """`given` is PATH or PATH=kind, a file or a folder; raises DataError where there is no text."""
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
        what = "is empty" if path.is_file() else "holds no file with text in it"
        raise DataError(f"--input {path} {what}: give a file or folder of text.")
    _check_not_twice(path, files)
    return Source(
        path.absolute().name, kind or recognise(path, [(file.name, file.path) for file in files]), files
    )


def _is_compressed(given: Path, file: Path) -> bool:
    """Whether a file is compressed; raises DataError where its beginning shows that it is no text."""
    try:
        head = read_head(file)
    except OSError as error:
        raise _unreadable(given, file, error) from None
    if what := not_text(head):
        raise DataError(f"--input {given}: {file} is {what}, or move it elsewhere.")
    return compression(head) is not None


def _check_not_twice(given: Path, files: Sequence[File]) -> None:
    """Raises DataError where a compressed file lies beside its text."""
    names = {file.name for file in files}
    for file in files:
        text = file.path.with_suffix("")
        if (
            file.compressed
            and file.path.suffix in ENDINGS
            and file.name.removesuffix(file.path.suffix) in names
        ):
            raise DataError(
                f"--input {given} holds {file.path} and {text.name}, the same text: remove one of them."
            )


def _parsed(given: str) -> tuple[Path, str | None]:
    path, mark, kind = given.rpartition("=")
    if mark and kind in KINDS:
        return Path(path), kind
    if mark and not Path(given).exists() and Path(path).exists():
        raise DataError(f"--input {given}: {kind!r} is no kind of text: choose among {', '.join(KINDS)}.")
    return Path(given), None


def _files_below(folder: Path) -> list[Path]:
    """Sorted by name, byte by byte, so that the order is the same on every machine; hidden ones left out.

    Links are followed. Raises DataError where a folder cannot be read, or holds a link to a folder it is in.
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
            f"--input {folder}: {found} is a link to {target}, a folder that it stands in: remove the link."
        )


def _state(given: Path, file: Path) -> os.stat_result:
    try:
        return file.stat()
    except OSError as error:  # a link to nothing
        raise _unreadable(given, file, error) from None


def _unreadable(given: Path, found: Path | str, error: OSError) -> DataError:
    return DataError(
        f"--input {given}: {found} cannot be read ({error.strerror}): put that right, or move it elsewhere."
    )
