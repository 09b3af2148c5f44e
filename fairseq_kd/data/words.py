"""Which entries of a vocabulary begin a word, for masking whole words."""

from pathlib import Path

import torch
from fairseq.data import Dictionary
from torch import Tensor

from ..errors import CannotStart

# Beside dict.txt: for each of its lines 1 where that token begins a word, else 0.
FILE = "word_starts.txt"


def word_starts(folder: Path, dictionary: Dictionary) -> Tensor:
    """uint8 [V], 1 where a token begins a word; special tokens are words of their own.

    From the folder's word_starts.txt, which `python -m preprocess.corpus` writes. Raises CannotStart
    without it, or where it is not as long as the dictionary.
    """
    path = folder / FILE
    try:
        marks = path.read_text("utf-8").split()
    except FileNotFoundError:
        raise CannotStart(
            f"--mask-whole-words needs {path}, which `python -m preprocess.corpus` writes: make the data with it, or "
            "leave the flag out."
        ) from None
    specials = dictionary.nspecial
    words = len(dictionary) - specials - 1  # <mask> comes last
    if len(marks) != words or not {*marks} <= {"0", "1"}:
        raise CannotStart(
            f"{path} holds {len(marks)} marks for a dictionary of {words} words: make the data again."
        )
    starts = torch.ones(len(dictionary), dtype=torch.uint8)
    starts[specials : specials + words] = torch.tensor([int(mark) for mark in marks], dtype=torch.uint8)
    return starts
