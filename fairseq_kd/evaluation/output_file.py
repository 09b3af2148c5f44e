"""Atomic writes of output files, whose OSErrors become CannotStart, and the check of `--out`."""

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
            doing="continue",
        ) from None


def output_path_errors(out: Path) -> list[str]:
    """Return an error message if the folder `--out` exists and is not empty; otherwise an empty list."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        return [f"--out {out} exists and is not empty: name a new folder."]
    return []
