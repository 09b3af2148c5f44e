"""Files that are there whole or not at all."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from ..errors import CannotStart


@contextmanager
def whole(path: Path) -> Iterator[BinaryIO]:
    """A file to write; it takes its name when all is written. CannotStart where the disk says no."""
    aside = path.with_name(f"{path.name}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with aside.open("wb") as file:
            yield file
        aside.replace(path)
    except (OSError, RuntimeError) as error:
        # torch.save says with a RuntimeError of its own what went wrong, after the OSError.
        reason = error if isinstance(error, OSError) else error.__context__
        if not isinstance(reason, OSError):
            raise
        raise CannotStart(
            f"{path} cannot be written ({reason.strerror}): mend that, or name another folder.", doing="go on"
        ) from None
    finally:
        with suppress(OSError):
            aside.unlink()
