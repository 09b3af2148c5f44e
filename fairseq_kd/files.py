"""Files that are there whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO


@contextmanager
def whole(path: Path) -> Iterator[BinaryIO]:
    """A file to write; it takes its name when all is on the disk, and nothing of it stays where that fails."""
    aside = path.with_name(f"{path.name}.new")
    try:
        with aside.open("wb") as file:
            yield file
            # Of a name and what it names, a power failure may keep the former alone.
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    finally:
        with suppress(OSError):
            aside.unlink()
