"""Random words in the place of real ones, for a student to see more than the corpus has."""

import numpy as np
import torch
from fairseq.data.data_utils import numpy_seed
from torch import Tensor

# Each block draws for itself. Academic-budget distillation draws once a batch, for all of its blocks.
SHARE = 0.5

# Masks are seeded with the same numbers: without one of its own, what is noisy would depend on how much is masked.
STREAM = 1


def replace_words(tokens: Tensor, free: Tensor, places: int, words: range, seed: tuple[int, ...]) -> Tensor:
    """In every other block, on average, random words at up to `places` places.

    tokens  [T]
    free    bool [T], where a word may be replaced
    words   the dictionary's entries to draw from
    seed    decides over everything, so that the same block of the same epoch is the same again
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
