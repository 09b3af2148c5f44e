"""Replaces words by random ones, as data augmentation for the student."""

import numpy as np
import torch
from fairseq.data.data_utils import numpy_seed
from torch import Tensor

# Drawn for each block. Academic-budget distillation draws once per batch, for all of its blocks.
SHARE = 0.5

# Masks use the same seed numbers. This additional number makes the noise independent of the masks.
STREAM = 1


def replace_words(tokens: Tensor, free: Tensor, places: int, words: range, seed: tuple[int, ...]) -> Tensor:
    """Return the tokens with up to `places` random words, in half of the blocks on average.

    tokens  [T]
    free    bool [T], positions where a word may be replaced
    words   dictionary indices to draw from
    seed    determines the result, so that the same block of the same epoch gets the same words
    """
    with numpy_seed(*seed, STREAM):
        if np.random.rand() >= SHARE:  # noqa: NPY002 - seeded as fairseq seeds its masks
            return tokens
        choice = free.nonzero().squeeze(1).numpy()
        chosen = np.random.permutation(choice)[:places]  # noqa: NPY002
        drawn = np.random.randint(words.start, words.stop, len(chosen))  # noqa: NPY002
    replaced = tokens.clone()
    replaced[torch.from_numpy(chosen)] = torch.from_numpy(drawn).to(tokens)
    return replaced
