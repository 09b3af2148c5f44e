"""Pairs of states and layers, and their description; `test_invalid_flags.py` has mappings that are errors."""

import pytest

from tests.criterions.factory import STUDENT, TEACHER, criterion_of


@pytest.mark.parametrize(
    ("words", "pairs", "described"),
    [
        ("hidden_mse_learn --mapping skip", [(0, 0), (1, 2), (2, 4)], "0 <- 0  1 <- 2  2 <- 4"),
        ("hidden_mse_learn --mapping 2:1,0:3", [(2, 1), (0, 3)], "2 <- 1  0 <- 3"),
        ("att_kl_learn --mapping skip", [(1, 2), (2, 4)], "1 <- 2  2 <- 4"),  # without 0:0
        ("minilm_v2 --mapping 0:0,2:3", [(2, 3)], "2 <- 3"),
    ],
)
def test_pairs_are_those_of_the_mapping(words, pairs, described):
    criterion = criterion_of(words)
    [part] = [each for each in criterion.children() if hasattr(each, "pairs")]
    assert (part.pairs, part.describe()) == (pairs, described)


def test_a_learned_map_is_described():
    criterion = criterion_of("hidden_mse_learn", teacher=TEACHER.__class__(**vars(TEACHER) | {"width": 32}))
    assert f"2 <- 4  (student's width {STUDENT.width} -> 32 learned)" in criterion.hidden.describe()
    assert any("32 learned" in line for line in criterion.describe())
