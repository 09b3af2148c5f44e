"""Whole folders or none: written beside their place, then renamed."""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path


@contextmanager
def replacing(folder: Path) -> Iterator[Path]:
    """A new folder beside `folder`, to be filled; it takes the place of `folder` unless an error is raised."""
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    try:
        temporary.mkdir(parents=True)
        yield temporary
        _put_in_place(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def recover(folder: Path) -> bool:
    """Puts right what a run killed while it replaced `folder` has left; says whether the old one came back."""
    had = folder.exists()
    for aside in _moved_aside(folder):
        if folder.exists():
            shutil.rmtree(aside, ignore_errors=True)
        else:
            aside.rename(folder)
    return folder.exists() and not had


def _put_in_place(temporary: Path, folder: Path) -> None:
    """Renames; what stood there before is moved aside first and removed last."""
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
    shutil.rmtree(aside, ignore_errors=True)  # the next run tries again


def _moved_aside(folder: Path) -> list[Path]:
    """The folders that `_put_in_place` moved aside, the latest first."""
    if not folder.parent.is_dir():
        return []
    name = re.compile(rf"\.{re.escape(folder.name)}\.\d+\.old")
    found = [path for path in folder.parent.iterdir() if name.fullmatch(path.name)]
    return sorted(found, key=lambda path: path.stat().st_mtime, reverse=True)
