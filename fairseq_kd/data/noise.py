"""Replaces words by random ones, as data augmentation for the student."""

import numpy as np
import torch
from fairseq.data.data_utils import numpy_seed
from torch import Tensor

# Probability that a block gets random words. Academic-budget distillation draws once for all blocks of a batch.
PROBABILITY = 0.5

# Masks are drawn with the same seed. This additional number makes the random words independent of the masks.
STREAM = 1


def replace_words(tokens: Tensor, free: Tensor, count: int, words: range, seed: tuple[int, ...]) -> Tensor:
    """Return the tokens, with up to `count` of them replaced by random words in half of the blocks.

    tokens  [T]
    free    bool [T], True where a word may be replaced
    words   dictionary indices to draw from
    seed    decides the result, so that the same block of the same epoch gets the same words
    """
    with numpy_seed(*seed, STREAM):
        if np.random.rand() >= PROBABILITY:  # noqa: NPY002 - seeded as fairseq seeds its masks
            return tokens
        choice = free.nonzero().squeeze(1).numpy()
        chosen = np.random.permutation(choice)[:count]  # noqa: NPY002
        drawn = np.random.randint(words.start, words.stop, len(chosen))  # noqa: NPY002
    replaced = tokens.clone()
    replaced[torch.from_numpy(chosen)] = torch.from_numpy(drawn).to(tokens)
    return replaced
