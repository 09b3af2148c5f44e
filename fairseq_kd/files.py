"""Atomic file writes (write to a temporary file, then rename), and locks of folders."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO


@contextmanager
def atomic_write(path: Path) -> Iterator[BinaryIO]:
    """Open a temporary file; on success sync and rename it to `path`, on any error delete it."""
    aside = path.with_name(f"{path.name}.new")
    try:
        with aside.open("wb") as file:
            yield file
            # Without a sync, a power failure could leave an empty file under the final name.
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    finally:
        with suppress(OSError):
            aside.unlink()


@contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """Create the folder, and lock it against other processes that create or write its files."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
