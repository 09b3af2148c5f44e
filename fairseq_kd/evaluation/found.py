"""Which checkpoints are meant by a path: a file, a run, or a folder of runs."""

from pathlib import Path

from ..errors import CannotStart
from ..models.checkpoint import NAMES_IN_FOLDER


def find_checkpoints(given: str) -> list[Path]:
    """A file: itself. A run's folder: all its checkpoints. A folder above runs: the best of each, by name.

    Raises CannotStart where there is none.
    """
    path = Path(given)
    if path.is_file():
        return [path]

    of_run = sorted(path.glob("*.pt"))
    found = of_run or sorted(best for name in NAMES_IN_FOLDER for best in path.rglob(name))
    if not found:
        raise CannotStart(
            f"--checkpoint {given} {'holds no checkpoint' if path.is_dir() else 'does not exist'}: give a checkpoint, "
            "the folder of a run, or a folder of runs."
        )
    return found
