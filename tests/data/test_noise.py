"""Words replaced by random ones."""

import torch

from fairseq_kd.data.noise import replace_words

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


def test_there_may_be_fewer_places_than_asked_for():
    assert {int((replaced(100, index) != 3).sum()) for index in range(20)} == {0, 25}


def test_a_block_is_the_same_each_time_and_its_own_stays():
    assert torch.equal(replaced(5, 7), replaced(5, 7))
    assert TOKENS.eq(3).all()
