"""Atomic writes of folders and files: write to a temporary name, then rename."""

import os
import re
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import BinaryIO


@contextmanager
def atomic_folder(folder: Path) -> Iterator[Path]:
    """Yield a temporary folder next to `folder`; on success rename it to `folder`, on any error delete it."""
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    try:
        temporary.mkdir(parents=True)
        yield temporary
        _replace(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """Open a temporary file; on success sync and rename it to `path`, on any error delete it.

    Several processes, also of several machines, may write the same file at the same time.
    """
    temporary = path.with_name(f".{path.name}.{socket.gethostname()}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            yield file
            sync(file)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def sync(file: BinaryIO) -> None:
    """Flush the file to the disk, so that after a crash the renamed file is complete."""
    file.flush()
    os.fsync(file.fileno())


def recover(folder: Path) -> bool:
    """Clean up after a run that was killed while it replaced `folder`; return whether the old folder was restored."""
    had = folder.exists()
    for aside in _moved_aside(folder):
        if folder.exists():
            shutil.rmtree(aside, ignore_errors=True)
        else:
            aside.rename(folder)
    return folder.exists() and not had


def _replace(temporary: Path, folder: Path) -> None:
    """Rename `temporary` to `folder`; an existing folder is moved aside first and deleted last."""
    if not folder.exists():
        temporary.rename(folder)
        return

    aside = next(path for i in count() if not (path := folder.with_name(f".{folder.name}.{i}.old")).exists())
    folder.rename(aside)
    try:
        temporary.rename(folder)
    except OSError:
        aside.rename(folder)
        raise
    shutil.rmtree(aside, ignore_errors=True)  # if this fails, the next run tries again


def _moved_aside(folder: Path) -> list[Path]:
    """Return the folders that `_replace` moved aside, the latest first."""
    if not folder.parent.is_dir():
        return []
    name = re.compile(rf"\.{re.escape(folder.name)}\.\d+\.old")
    found = [path for path in folder.parent.iterdir() if name.fullmatch(path.name)]
    return sorted(found, key=lambda path: path.stat().st_mtime, reverse=True)
