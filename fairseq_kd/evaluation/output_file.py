"""Atomic writes of output files; turns OSError into CannotStart."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from .. import files
from ..errors import CannotStart


@contextmanager
def atomic_write(path: Path) -> Iterator[BinaryIO]:
    """Write atomically to `path`, creating its folder. Raises CannotStart if that fails."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with files.atomic_write(path) as file:
            yield file
    except (OSError, RuntimeError) as error:
        # torch.save raises a RuntimeError after the OSError.
        reason = error if isinstance(error, OSError) else error.__context__
        if not isinstance(reason, OSError):
            raise
        raise CannotStart(
            f"{path} cannot be written ({reason.strerror}): fix the cause, or name another folder.",
            doing="go on",
        ) from None
