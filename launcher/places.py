"""Where a run's inputs are: the plugin, the training program, the data and the teacher of a task."""

import hashlib
import json
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PLUGIN = ROOT / "fairseq_kd"

# In a folder: a run's best checkpoint, or a converted model. The plugin looks for the same ones.
BEST, LAST = "checkpoint_best.pt", "checkpoint_last.pt"
CHECKPOINT_NAMES = (BEST, "model.pt")

# Of a first stage, those that a second one can start from.
STAGE2_FROM = {"best": BEST, "last": LAST}

CHUNKS, CHUNK = 64, 1 << 16


@dataclass(frozen=True)
class Data:
    """A folder of binarized data.

    sentences    training sentences
    metric       what chooses the best checkpoint
    subsets      the splits to validate on; the first decides
    fingerprint  the same for the same data, wherever it lies
    longest      tokens at which its inputs are cut; None if unknown
    """

    folder: Path
    sentences: int
    metric: str
    subsets: tuple[str, ...]
    fingerprint: str
    longest: int | None = None


def has_data(data: Path, task: str) -> bool:
    """Whether there is data where that of a task would be."""
    return _meta(data, task).is_file()


def find_data(data: Path, task: str) -> Data:
    """The data of a task below `data`, or `data` itself; ValueError says what to give."""
    path = _meta(data, task)
    if not path.is_file():
        raise ValueError(
            f"--data {data} has no data of {task} ({path} is missing): give the folder that "
            f"`python -m preprocess.glue --tasks {task} --out {data}` makes"
        )

    try:
        text = path.read_text("utf-8")
        meta = json.loads(text)
        found, splits, metric = meta["task"], meta["splits"], meta["metric"]
        sentences = splits["train"]["sentences"]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path} cannot be understood ({type(error).__name__}: {error}): make the data again"
        ) from None
    if found != task:
        raise ValueError(
            f"--data {data} holds {found}, not {task}: give the folder above it, or --task {found.lower()}"
        )

    subsets = tuple(sorted(name for name in splits if name.startswith("valid")))
    fingerprint = meta.get("made_from") or hashlib.sha256(text.encode()).hexdigest()
    return Data(path.parent, sentences, metric, subsets, fingerprint, meta.get("max_positions"))


def _meta(data: Path, task: str) -> Path:
    own = data / "meta.json"
    return own if own.is_file() else data / f"{task}-bin" / "meta.json"


class Unfinished(ValueError):
    """A model is there, but its training has not ended."""


def find_teacher(given: str, task: str) -> Path:
    """The checkpoint of a task's teacher; ValueError says what to give."""
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
    """The checkpoint meant by a file or a folder that holds one; ValueError says what `flag` names instead.

    The best one of a run is one only once that run is finished: until then it may be replaced at any moment.
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


def check_writable(folder: Path, flag: str) -> None:
    """ValueError where `folder` could not be made or written; makes nothing."""
    there = next(path for path in (folder, *folder.parents) if path.exists())
    if not there.is_dir():
        raise ValueError(f"{flag} {folder} cannot be made: {there} is no folder, name another")
    if not os.access(there, os.W_OK | os.X_OK):
        raise ValueError(f"{flag} {folder} cannot be made: {there} may not be written, name another")


def fingerprint(path: Path) -> str:
    """A checksum of a large file from its size and 64 pieces of it: two trainings never agree in all."""
    size = path.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with open(path, "rb") as file:
        for number in range(CHUNKS):
            file.seek(number * max(0, size - CHUNK) // (CHUNKS - 1))
            digest.update(file.read(CHUNK))
    return digest.hexdigest()


def find_trainer(given: str | None) -> str:
    """The fairseq-train to call: the one named, beside this Python, on PATH, or in the project's .venv."""
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


def importing_project() -> dict[str, str]:
    """Return the environment in which a program imports the packages of this project, installed or not."""
    search = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return os.environ | {"PYTHONPATH": search}


def find_python(trainer: str) -> str:
    """The Python beside a fairseq-train, which has what it needs; this one where there is none."""
    return shutil.which("python", path=Path(trainer).parent) or sys.executable
