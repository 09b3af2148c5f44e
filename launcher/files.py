"""File operations: atomic writes of text, locks, YAML, checks of output folders."""

import errno
import fcntl
import json
import os
import sys
import threading
from pathlib import Path
from typing import Any, TextIO

import yaml

from preprocess.atomic_folder import atomic_file

# Errors of flock on a file system without locks.
UNABLE = frozenset({errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK})

_warned = threading.Lock()  # taken by the first warning


def write_text(path: Path, text: str) -> None:
    """Write a text file in UTF-8 atomically."""
    with atomic_file(path) as file:
        file.write(text.encode())


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file atomically."""
    write_text(path, json.dumps(content, indent=1) + "\n")


def take_lock(file: TextIO) -> bool:
    """Lock a file; return False if another process holds the lock.

    The lock holds until the file is closed here and in all processes that inherit it: a training process keeps it after
    its launcher was killed. (The package filelock does not expose the file descriptor, which this needs.) On a file
    system without locks the result is True, with one warning per program.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in UNABLE:
            raise
        if _warned.acquire(blocking=False):
            print(
                f"Warning: {file.name} cannot be locked ({error.strerror}): make sure that no other launcher trains the "
                "same runs.",
                file=sys.stderr,
            )
    return True


def is_locked(path: Path) -> bool:
    """Return whether a process holds the lock of a file."""
    if not path.is_file():
        return False
    with open(path, "r+") as file:
        return not take_lock(file)


def check_writable(folder: Path, flag: str) -> None:
    """Raise ValueError if `folder` can be neither created nor written. Creates nothing."""
    there = next(path for path in (folder, *folder.parents) if path.exists())
    if not there.is_dir():
        raise ValueError(f"{flag} {folder} cannot be made: {there} is no folder, name another")
    if not os.access(there, os.W_OK | os.X_OK):
        raise ValueError(f"{flag} {folder} cannot be made: {there} may not be written, name another")


def read_yaml(path: Path, flag: str) -> Any:
    """Return the content of a YAML (or JSON) file; raise ValueError, which quotes `flag`, if it is invalid."""
    try:
        return yaml.safe_load(path.read_text("utf-8"))
    except OSError as error:
        raise ValueError(f"{flag} {path} cannot be read ({error.strerror}): name a file that can") from None
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise ValueError(f"{flag} {path} is not YAML ({' '.join(str(error).split())}): correct it") from None
