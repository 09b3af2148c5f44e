"""Locks of cache folders against other processes. Outside Unix there are none."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

try:
    import fcntl
except ImportError:  # not Unix: two programs must not write one cache at the same time
    fcntl = None


@contextlib.contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """Create the folder, and lock it against other processes that create or write its files."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "lock", "w") as file:
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
