"""Short blocks: all tokens, in their order, in more blocks."""

import numpy as np
import torch
from fairseq.data import ListDataset

from fairseq_kd.data.short import ShortBlocksDataset


def blocks(lengths):
    rows = torch.arange(sum(lengths)).split(lengths)
    return ListDataset(rows, np.array(lengths)), torch.cat(rows)


def test_no_token_is_lost_and_a_share_is_cut():
    given, tokens = blocks([1, *[20] * 1000])
    short = ShortBlocksDataset(given, 0.3, seed=1)

    pieces = [short[index] for index in range(len(short))]
    assert torch.equal(torch.cat(pieces), tokens)
    assert short.sizes.tolist() == [len(piece) for piece in pieces]
    assert min(short.sizes) > 0
    assert 250 < len(short) - len(given) < 350
    lengths = np.bincount(short.sizes)[1:20]
    assert lengths[1:].min() > 10  # cut anywhere


def test_all_or_none_can_be_cut_and_the_seed_determines_where():
    given, _ = blocks([5, 5, 1])
    assert ShortBlocksDataset(given, 0.0, seed=1).sizes.tolist() == [5, 5, 1]
    assert len(ShortBlocksDataset(given, 1.0, seed=1)) == 5

    given, _ = blocks([30] * 50)
    first, again, other = (ShortBlocksDataset(given, 0.5, seed).sizes.tolist() for seed in (1, 1, 2))
    assert first == again != other
