"""Finds checkpoints for a path: a file, a run directory, or a folder of runs."""

from pathlib import Path

from ..errors import CannotStart
from ..models.checkpoint import NAMES_IN_FOLDER


def find_checkpoints(given: str) -> list[Path]:
    """Return the file itself, all checkpoints of a run directory, or the best checkpoint of each run in a folder.

    Raises CannotStart if there is no checkpoint.
    """
    path = Path(given)
    if path.is_file():
        return [path]

    of_run = sorted(path.glob("*.pt"))
    found = of_run or sorted(best for name in NAMES_IN_FOLDER for best in path.rglob(name))
    if not found:
        raise CannotStart(
            f"--checkpoint {given} {'has no checkpoint' if path.is_dir() else 'does not exist'}: give a checkpoint, "
            "a run directory, or a folder of runs."
        )
    return found
