"""`meta.json`: what a folder of binarized data says about itself."""

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
    """What training needs to know of a data set before reading a sentence of it.

    num_classes      1 for regression
    pairs            whether there are two sentences an example
    pair_format      how two are joined: `roberta` puts two separators between them, `bert` one
    labels           names of the classes in the order of their numbers
    metric           the task's own metric, in the words of this package's logs
    dictionary_hash  see `dictionary_hash`
    sentences        examples by split
    score_scale      what a predicted number is multiplied with to be the task's own score (regression)
    max_positions    tokens to which examples were cut
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
    """What `meta.json` in the folder says; None where there is no such file.

    Raises CannotStart when it is there and cannot be understood.
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
        raise _not_understood(path, error, "preprocess.glue") from None


def corpus_pair_format(folder: Path) -> str:
    """How a model of this running text's vocabulary joins two sentences; roberta where no `meta.json` says.

    Raises CannotStart when that is there and cannot be understood.
    """
    path = folder / "meta.json"
    if not path.is_file():
        return "roberta"
    try:
        return json.loads(path.read_text(encoding="utf-8"))["encoder"]["pair_format"]
    except (KeyError, TypeError, ValueError) as error:
        raise _not_understood(path, error, "preprocess.corpus") from None


def dictionary_hash(path: Path) -> str:
    """SHA-256 over the symbols of a `dict.txt` in their order, as fairseq reads it; counts do not matter.

    Two vocabularies with the same hash give every symbol the same index. Raises CannotStart when
    fairseq cannot read the file.
    """
    return hashlib.sha256("\n".join(_symbols(path)).encode()).hexdigest()


def class_names(data: Path, classes: Optional[int] = None) -> tuple[str, ...]:
    """Return the class names in `label/dict.txt`, in the order of the class numbers; () without that file.

    The number of a class is the index of its name without fairseq's specials, as in `sentence_prediction`.

    classes  number of names to return: the first ones, or all and fillers as fairseq-preprocess names them
             (default: all names, without fillers)

    Raises CannotStart when fairseq cannot read the file.
    """
    path = data / "label" / "dict.txt"
    if not os.path.isfile(path):  # also False where the folder may not be read
        return ()
    names = _symbols(path)
    while names and names[-1].startswith(FILLER):
        names.pop()
    if classes is None:
        return tuple(names)
    fillers = [f"{FILLER}{number:04d}" for number in range(classes - len(names))]
    return tuple([*names, *fillers][:classes])


def _symbols(path: Path) -> list[str]:
    """Return the symbols of a `dict.txt` without fairseq's specials."""
    try:
        dictionary = Dictionary.load(str(path))
    except Exception as error:  # fairseq raises bare Exceptions
        reason = str(error).strip().split("\n")[0][:200]
        raise CannotStart(
            f"{path} is not a dictionary that fairseq reads ({reason}): take a fresh copy of the folder it is in."
        ) from None
    return dictionary.symbols[dictionary.nspecial :]


def _not_understood(path: Path, error: Exception, made_by: str) -> CannotStart:
    return CannotStart(
        f"{path} cannot be understood ({type(error).__name__}: {error}): make the data again with `python -m {made_by}`."
    )
