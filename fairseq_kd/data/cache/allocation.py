"""Disk space of a cache: compared with the free space for all splits, then preallocated."""

import logging
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from ...errors import CannotStart
from ...files import folder_lock
from .split_cache import FLAG

logger = logging.getLogger(__name__)


def preallocate(
    folder: Path, contents: str, missing: Callable[[], Mapping[str, int]], create: Callable[[], None]
) -> None:
    """Create the files of a cache at full size, and log that size.

    contents  description of the files, for messages
    missing   returns split -> bytes of its files that do not exist yet
    create    creates them

    Raises CannotStart if there is too little space for all of them, before it creates one.
    """
    try:
        with folder_lock(folder):
            # Computed under the lock, because another process may just have created the same files.
            sizes = {name: size for name, size in missing().items() if size}
            if not sizes:
                return
            free = free_bytes(folder)
            logger.info(
                f"{FLAG} {folder}: {contents} take {describe_sizes(sizes)}, of {format_bytes(free)} free"
            )
            if sum(sizes.values()) > free:
                raise CannotStart(
                    f"{FLAG} {folder} needs {describe_sizes(sizes)} for {contents}, but {format_bytes(free)} are free: free "
                    "some space, name a folder on another disk, or store less (--hsk-keep, --mapping, --cache-precision)."
                )
            create()
    except OSError as error:
        raise CannotStart(
            f"{FLAG} {folder} cannot be written ({error.strerror}): free some space, or name another folder."
        ) from None


def free_bytes(folder: Path) -> int:
    """Return the free bytes of the disk of `folder`, which need not exist yet."""
    return shutil.disk_usage(
        next(each for each in [folder, *folder.absolute().parents] if each.exists())
    ).free


def describe_sizes(sizes: Mapping[str, int]) -> str:
    """Return total and parts, such as 13.4 MiB (train 12.3 MiB, valid 1.1 MiB)."""
    each = ", ".join(f"{name} {format_bytes(size)}" for name, size in sizes.items())
    return f"{format_bytes(sum(sizes.values()))} ({each})"


def format_bytes(size: float) -> str:
    """Return a size with its unit, such as 12.3 MiB."""
    power = min(4, max(0, int(size).bit_length() - 1) // 10)
    unit = ("bytes", "KiB", "MiB", "GiB", "TiB")[power]
    return f"{size / 1024**power:.{min(power, 1)}f} {unit}"
