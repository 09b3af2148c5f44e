"""The room that a cache takes on the disk: said for all splits together, and taken for all of them or for none."""

import contextlib
import logging
import shutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from ...errors import CannotStart
from .files import locked
from .rows import FLAG

logger = logging.getLogger(__name__)


def take(folder: Path, what: str, lacking: Callable[[], Mapping[str, int]], files: Iterable[Path]) -> None:
    """Makes the files of a cache, and says how large; CannotStart where there is no room, of which nothing is taken then.

    what     is to be made
    lacking  its bytes, by split, as far as it is not there yet
    files    makes one after the other, and names each when it is there
    """
    made: list[Path] = []
    try:
        with locked(folder):
            # Only now, for who held the lock before may have made the same.
            sizes = {name: size for name, size in lacking().items() if size}
            if not sizes:
                return
            free = free_at(folder)
            logger.info(f"{FLAG} {folder}: {what} take {in_words(sizes)}, of {in_units(free)} free")
            if sum(sizes.values()) > free:
                raise CannotStart(
                    f"{FLAG} {folder} needs {in_words(sizes)} for {what}, and {in_units(free)} are free: make room, name "
                    "a folder on another disk, or keep less (--hsk-keep, --mapping, --cache-precision)."
                )
            try:
                for path in files:
                    made.append(path)
            except BaseException:
                _remove(made)
                raise
    except OSError as error:
        raise CannotStart(
            f"{FLAG} {folder} cannot be written ({error.strerror}): make room, or name another folder."
        ) from None


def free_at(folder: Path) -> int:
    """Bytes that are free where a folder is, or would be."""
    return shutil.disk_usage(
        next(each for each in [folder, *folder.absolute().parents] if each.exists())
    ).free


def in_words(sizes: Mapping[str, int]) -> str:
    """13.4 MiB (train 12.3 MiB, valid 1.1 MiB)"""
    each = ", ".join(f"{name} {in_units(size)}" for name, size in sizes.items())
    return f"{in_units(sum(sizes.values()))} ({each})"


def in_units(size: float) -> str:
    """12.3 MiB"""
    power = min(4, max(0, int(size).bit_length() - 1) // 10)
    unit = ("bytes", "KiB", "MiB", "GiB", "TiB")[power]
    return f"{size / 1024**power:.{min(power, 1)}f} {unit}"


def _remove(files: Iterable[Path]) -> None:
    for path in files:
        path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # a folder that holds more
            path.parent.rmdir()
