"""Locks, allocation and hashes of cache files."""

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
except ImportError:  # not Unix: no locks, so the user must not write one cache with two programs at once
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


def write_json(path: Path, values: dict[str, Any]) -> None:
    """Write a dictionary as indented JSON, atomically."""
    with atomic_write(path) as file:
        file.write((json.dumps(values, indent=1, sort_keys=True) + "\n").encode())


def fill_with_zeros(file: IO[bytes], size: int) -> None:
    """Extend a new file to `size` bytes, reserving its disk space if possible; OSError if there is too little."""
    if size and hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file.fileno(), 0, size)
    else:
        file.truncate(size)


# SHA-256 of files by path, size and modification time. Each shard of a corpus is loaded many times, but hashed once.
HASHED: dict[tuple[Path, int, int], bytes] = {}


def hash_files(paths: list[Path]) -> str:
    """Return a hash of the contents of files: the SHA-256 of their concatenated SHA-256 digests."""
    digest = hashlib.sha256()
    for path in paths:
        state = path.stat()
        key = path, state.st_size, state.st_mtime_ns
        if key not in HASHED:
            with open(path, "rb") as file:
                HASHED[key] = hashlib.file_digest(file, "sha256").digest()
        digest.update(HASHED[key])
    return digest.hexdigest()
