"""Reads which vocabulary entries begin a word, for whole-word masking."""

from pathlib import Path

import torch
from fairseq.data import Dictionary
from torch import Tensor

from ..errors import CannotStart

# Next to dict.txt, with one line for each of its lines: 1 if that token begins a word, else 0.
FILE = "word_starts.txt"


def word_starts(folder: Path, dictionary: Dictionary) -> Tensor:
    """Return uint8 [V], 1 if a token begins a word; special tokens count as words.

    Reads word_starts.txt of the folder, written by `python -m preprocess.corpus`. Raises CannotStart if the file is
    missing, or if its length differs from the dictionary.
    """
    path = folder / FILE
    try:
        marks = path.read_text("utf-8").split()
    except FileNotFoundError:
        raise CannotStart(
            f"--mask-whole-words needs {path}, which is missing: make the data with `python -m preprocess.corpus`, or "
            "remove the flag."
        ) from None
    specials = dictionary.nspecial
    words = len(dictionary) - specials - 1  # <mask> comes last
    if len(marks) != words or not {*marks} <= {"0", "1"}:
        raise CannotStart(
            f"{path} has {len(marks)} lines, expected {words} as in dict.txt: make the data again."
        )
    starts = torch.ones(len(dictionary), dtype=torch.uint8)
    starts[specials : specials + words] = torch.tensor([int(mark) for mark in marks], dtype=torch.uint8)
    return starts
