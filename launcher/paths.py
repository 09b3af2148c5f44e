"""Finds the project, the programs that train, and folders that can be written."""

import os
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PLUGIN = ROOT / "fairseq_kd"


def check_writable(folder: Path, flag: str) -> None:
    """Raise ValueError if `folder` can be neither created nor written. Creates nothing."""
    there = next(path for path in (folder, *folder.parents) if path.exists())
    if not there.is_dir():
        raise ValueError(f"{flag} {folder} cannot be made: {there} is no folder, name another")
    if not os.access(there, os.W_OK | os.X_OK):
        raise ValueError(f"{flag} {folder} cannot be made: {there} may not be written, name another")


def find_trainer(given: str | None) -> str:
    """Return the fairseq-train to call: `given`, or that beside this Python, on PATH, or in the project's .venv."""
    if given is not None:
        found = shutil.which(given)
        if found is None:
            raise ValueError(f"--trainer {given} is not a program: give the path of a fairseq-train")
        return found

    for folder in (Path(sys.executable).parent, None, ROOT / ".venv" / "bin"):
        found = shutil.which("fairseq-train", path=folder)
        if found is not None:
            return found
    raise ValueError("there is no fairseq-train yet: run `bash scripts/setup.sh`, or give --trainer PATH")


def find_python(trainer: str) -> str:
    """Return the Python beside a fairseq-train, which has torch installed; without one, this Python."""
    return shutil.which("python", path=Path(trainer).parent) or sys.executable


def importing_project() -> dict[str, str]:
    """Return the environment in which a program imports the packages of this project, installed or not."""
    search = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return os.environ | {"PYTHONPATH": search}
