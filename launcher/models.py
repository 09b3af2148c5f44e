"""Finds checkpoints: of teachers, of pre-trained models and of runs."""

import hashlib
from pathlib import Path

# Checkpoints in a folder: the best one of a run, or a converted model. The plugin uses the same names.
BEST, LAST = "checkpoint_best.pt", "checkpoint_last.pt"

CHECKPOINT_NAMES = (BEST, "model.pt")


# Checkpoints of a first stage that a second stage can start from.
STAGE2_FROM = {"best": BEST, "last": LAST}


# As --init-layers, and in lists of models.
ALL_LAYERS = "all"

CHUNKS, CHUNK = 64, 1 << 16


class Unfinished(ValueError):
    """The checkpoint exists, but its training has not ended."""


def find_teacher(given: str, task: str) -> Path:
    """Return the checkpoint of a task's teacher; raise ValueError if it is missing."""
    try:
        return find_checkpoint(Path(given.replace("{task}", task)), "--teacher")
    except Unfinished:
        raise
    except ValueError as error:
        raise ValueError(
            f"{error}: give a model fine-tuned on {task} (scripts/finetune_teacher.py makes one); "
            "{task} in the path stands for the task's name"
        ) from None


def find_checkpoint(given: Path, flag: str) -> Path:
    """Return the checkpoint in a file or folder; raise ValueError, which quotes `flag`, if it is missing.

    Raises Unfinished for the best checkpoint of an unfinished run, which may be replaced at any moment.
    """
    for candidate in (given, *(given / name for name in CHECKPOINT_NAMES)):
        if candidate.is_file():
            run = candidate.parent
            if (
                candidate.name == BEST
                and (run / "spec.json").is_file()
                and not (run / "result.json").is_file()
            ):
                raise Unfinished(
                    f"{flag} {given} is still being trained, or was interrupted: let its training end, or name a copy of "
                    f"{candidate} to use it as it is"
                )
            return candidate

    found = f"holds neither {' nor '.join(CHECKPOINT_NAMES)}" if given.is_dir() else "does not exist"
    raise ValueError(f"{flag} {given} {found}")


def file_fingerprint(path: Path) -> str:
    """Return a checksum of the size and 64 pieces of a large file, which differ between any two trainings."""
    size = path.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with open(path, "rb") as file:
        for number in range(CHUNKS):
            file.seek(number * max(0, size - CHUNK) // (CHUNKS - 1))
            digest.update(file.read(CHUNK))
    return digest.hexdigest()
