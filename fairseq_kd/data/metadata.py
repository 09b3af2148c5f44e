"""Reads `meta.json` and dictionaries of binarized data."""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from fairseq.data import Dictionary

from ..errors import CannotStart

# fairseq-preprocess appends `madeupword0000`, ... to a dictionary until its size is a multiple of 8.
FILLER = "madeupword"


@dataclass(frozen=True)
class Metadata:
    """Properties of a data set that training needs before it reads sentences.

    num_classes      1 for regression
    pairs            whether an example has two sentences
    pair_format      separators between two sentences: two for `roberta`, one for `bert`
    labels           class names in the order of their numbers
    metric           the task's metric, as named in the logs
    dictionary_hash  see `dictionary_hash`
    sentences        number of examples by split
    score_scale      factor from a predicted number to the task's score (regression)
    max_positions    length in tokens to which longer examples were truncated
    """

    task: str
    num_classes: int
    regression: bool
    pairs: bool
    pair_format: str
    dictionary_hash: str
    labels: tuple[str, ...] = ()
    metric: Optional[str] = None
    sentences: Optional[Mapping[str, int]] = None
    score_scale: float = 1.0
    max_positions: Optional[int] = None


def read_metadata(data: Path) -> Optional[Metadata]:
    """Return the metadata in `meta.json` of the folder; None without that file.

    Raises CannotStart if the file is invalid.
    """
    path = data / "meta.json"
    if not path.is_file():
        return None

    try:
        meta = json.loads(path.read_text(encoding="utf-8"))
        return Metadata(
            task=meta["task"],
            num_classes=meta["num_classes"],
            regression=meta["regression"],
            pairs=meta["pairs"],
            pair_format=meta["pair_format"],
            dictionary_hash=meta["dictionary_hash"],
            labels=tuple(meta.get("labels") or ()),
            metric=meta.get("metric"),
            sentences={name: split["sentences"] for name, split in meta["splits"].items()},
            score_scale=meta.get("score_scale") or 1.0,
            max_positions=meta.get("max_positions"),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise _invalid(path, error, "preprocess.glue") from None


def corpus_pair_format(folder: Path) -> str:
    """Return the pair format of the vocabulary of a corpus; roberta without `meta.json`.

    Raises CannotStart if `meta.json` is invalid.
    """
    path = folder / "meta.json"
    if not path.is_file():
        return "roberta"
    try:
        return json.loads(path.read_text(encoding="utf-8"))["encoder"]["pair_format"]
    except (KeyError, TypeError, ValueError) as error:
        raise _invalid(path, error, "preprocess.corpus") from None


def dictionary_hash(path: Path) -> str:
    """Return the SHA-256 of the symbols of a `dict.txt` in order, as read by fairseq; counts are ignored.

    Two vocabularies with the same hash have the same indices. Raises CannotStart if fairseq cannot read the file.
    """
    return hashlib.sha256("\n".join(_symbols(path)).encode()).hexdigest()


def load_dictionary(path: Path) -> Dictionary:
    """Return the vocabulary of a `dict.txt`, with `<mask>` as its last symbol, as in fairseq's masked_lm task."""
    dictionary = Dictionary.load(str(path))
    dictionary.add_symbol("<mask>")
    return dictionary


def class_names(data: Path, classes: Optional[int] = None) -> tuple[str, ...]:
    """Return the class names in `label/dict.txt`, in the order of the class numbers; () without that file.

    A class number is the index of its name without fairseq's special tokens, as in `sentence_prediction`.

    classes  number of names to return; fairseq-preprocess's filler names follow the others (default: all names,
             without fillers)

    Raises CannotStart if fairseq cannot read the file.
    """
    path = data / "label" / "dict.txt"
    if not os.path.isfile(path):  # also False without permission to read the folder
        return ()
    names = _symbols(path)
    while names and names[-1].startswith(FILLER):
        names.pop()
    if classes is None:
        return tuple(names)
    fillers = [f"{FILLER}{number:04d}" for number in range(classes - len(names))]
    return tuple([*names, *fillers][:classes])


def _symbols(path: Path) -> list[str]:
    """Return the symbols of a `dict.txt` without fairseq's special tokens."""
    try:
        dictionary = Dictionary.load(str(path))
    except Exception as error:  # fairseq raises bare Exceptions
        reason = str(error).strip().split("\n")[0][:200]
        raise CannotStart(f"{path} is not a fairseq dictionary ({reason}): get a new copy.") from None
    return dictionary.symbols[dictionary.nspecial :]


def _invalid(path: Path, error: Exception, made_by: str) -> CannotStart:
    return CannotStart(
        f"{path} is invalid ({type(error).__name__}: {error}): make the data again with `python -m {made_by}`."
    )
