"""Locks of cache folders and rows against other processes. Outside Unix there are none."""

import contextlib
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import IO

try:
    import fcntl
except ImportError:  # not Unix: two programs must not write one cache at the same time
    fcntl = None


@contextlib.contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """Create the folder, and lock it against other processes that create files in it."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "lock", "w") as file:
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def row_lock(path: Path, row: int) -> Iterator[None]:
    """Lock a row against writers in other processes. The lock of a killed process is released.

    path  the lock file, created if missing. It has no other use: a process that closes any descriptor of a file
          releases all its locks on that file.
    """
    if fcntl is None:
        yield
        return
    if not path.exists():
        path.touch()
    state = path.stat()
    file = _lock_file(path, state.st_dev, state.st_ino)
    fcntl.lockf(file, fcntl.LOCK_EX, 1, row)
    try:
        yield
    finally:
        fcntl.lockf(file, fcntl.LOCK_UN, 1, row)


@functools.cache
def _lock_file(path: Path, device: int, inode: int) -> IO[bytes]:
    """Open a lock file once, and never close it. A new file of the same name has another inode."""
    return open(path, "r+b", buffering=0)
