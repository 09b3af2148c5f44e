"""Words replaced by random ones."""

import numpy as np
import pytest
import torch
from fairseq.data import Dictionary, ListDataset

from fairseq_kd.data.masked import MaskedWordsDataset, replace_words

TOKENS = torch.full((50,), 3)
FREE = torch.arange(50) % 2 == 0


def replaced(places, index):
    return replace_words(TOKENS, FREE, places, range(10, 20), (1, 1, index))


def test_half_of_the_blocks_show_random_words_where_they_may():
    changed = [(replaced(5, index) != 3) for index in range(400)]
    counts = [int(places.sum()) for places in changed]
    assert set(counts) == {0, 5}
    assert 160 < counts.count(5) < 240
    assert not any((places & ~FREE).any() for places in changed)
    assert {int(word) for index in range(50) for word in replaced(5, index).unique()} == {3, *range(10, 20)}


def test_a_block_is_the_same_each_time_and_may_have_few_free_positions():
    assert {int((replaced(100, index) != 3).sum()) for index in range(20)} == {0, 25}
    assert torch.equal(replaced(5, 7), replaced(5, 7))
    assert TOKENS.eq(3).all()


@pytest.mark.slow
def test_noisy_blocks_have_as_many_masks_as_others():
    """15 % of 24 tokens are 3 or 4 masks: the noise must be independent of that number."""
    dictionary = Dictionary()
    for number in range(20):
        dictionary.add_symbol(f"w{number}")
    mask = {"vocab": dictionary, "pad_idx": 1, "mask_idx": dictionary.add_symbol("<mask>"), "seed": 1, "mask_prob": 0.15,
            "leave_unmasked_prob": 0.0, "random_token_prob": 0.0}  # fmt: skip
    blocks = ListDataset([torch.full((24,), 5)] * 400, np.full(400, 24))
    dataset = MaskedWordsDataset(blocks, mask, replaced=100)

    guessed = {True: [], False: []}
    for index in range(len(dataset)):
        example = dataset[index]
        hidden = example["words"].ne(1)
        noisy = bool(example["tokens"][~hidden].ne(5).any())
        guessed[noisy].append(int(hidden.sum()))
    clean, noisy = (np.mean(guessed[which]) for which in (False, True))
    assert abs(clean - noisy) < 0.2
    assert abs(clean - 3.6) < 0.2
