"""What a model that is exported was trained on: its data, and through them its vocabulary."""

from pathlib import Path
from typing import Optional

from fairseq.data import Dictionary

from ..data.metadata import dictionary_hash
from ..errors import CannotStart
from ..models.checkpoint import Checkpoint
from .finished import find_data


def find_training_data(given: Optional[Path], checkpoint: Checkpoint) -> Optional[Path]:
    """The data named by --data or, without it, that of the checkpoint's own training where it is still there."""
    if given is not None:
        return find_data(given, checkpoint)
    own = (checkpoint.run.get("task") or {}).get("data")
    return Path(own) if own and (Path(own) / "input0" / "dict.txt").is_file() else None


def find_dictionary(data: Optional[Path], checkpoint: Checkpoint) -> Path:
    """The model's dict.txt: that of its data, or the one beside it."""
    path = checkpoint.path.parent / "dict.txt" if data is None else data / "input0" / "dict.txt"
    if not path.is_file():
        raise CannotStart(
            f"--checkpoint {checkpoint.path} has no dict.txt beside it: give --data, binarized data for this model.",
            doing="export",
        )
    known = dictionary_hash(path)  # refuses what is no dictionary
    dictionary = Dictionary.load(str(path))
    dictionary.add_symbol("<mask>")
    if len(dictionary) != checkpoint.words or checkpoint.dictionary_hash not in (None, known):
        raise CannotStart(
            f"{path} is another vocabulary than that of --checkpoint {checkpoint.path}: give data that was made for this "
            "model (--data).",
            doing="export",
        )
    return path


def problems_of_out(out: Path) -> list[str]:
    """Why nothing can be exported to the folder `--out`: a sentence, none where it is new or empty."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        return [f"--out {out} is there already and not empty: name a new folder."]
    return []
