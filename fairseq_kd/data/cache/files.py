"""How the files of a cache are made: by one process at a time, and with room for all that they will hold."""

import contextlib
import functools
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from ...files import atomic_write

try:
    import fcntl
except ImportError:  # not a Unix: two programs that write the same cache at once are up to the user
    fcntl = None


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Makes the folder; holds off whoever else would make files in it."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "lock", "w") as file:
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def held(path: Path, row: int) -> Iterator[None]:
    """Holds off other processes that would write this row; a killed one lets go of it.

    path  of a file that is there for this alone, and is made where it is missing: a process that closes any descriptor
          of a file lets go of all that it holds there
    """
    if fcntl is None:
        yield
        return
    if not path.exists():
        path.touch()
    state = path.stat()
    file = _opened(path, state.st_dev, state.st_ino)
    fcntl.lockf(file, fcntl.LOCK_EX, 1, row)
    try:
        yield
    finally:
        fcntl.lockf(file, fcntl.LOCK_UN, 1, row)


@functools.cache
def _opened(path: Path, device: int, number: int) -> IO[bytes]:
    """Opened once, and never closed; another file of the same name has another number."""
    return open(path, "r+b", buffering=0)


def write_json(path: Path, values: dict[str, Any]) -> None:
    """Writes a dictionary, readable, that is there whole or not at all."""
    with atomic_write(path) as file:
        file.write((json.dumps(values, indent=1, sort_keys=True) + "\n").encode())


def zeros(file: IO[bytes], size: int) -> None:
    """Fills a new file with that many, whose room on the disk nobody can take away; OSError where there is none."""
    if size and hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file.fileno(), 0, size)
    else:
        file.truncate(size)


# SHA-256 of files by path, size and time of change: each shard of a corpus is loaded many times, and read for this once.
HASHED: dict[tuple[Path, int, int], bytes] = {}


def hash_of(paths: list[Path]) -> str:
    """SHA-256 of the contents of files, one behind the other."""
    digest = hashlib.sha256()
    for path in paths:
        state = path.stat()
        key = path, state.st_size, state.st_mtime_ns
        if key not in HASHED:
            with open(path, "rb") as file:
                HASHED[key] = hashlib.file_digest(file, "sha256").digest()
        digest.update(HASHED[key])
    return digest.hexdigest()
