import pytest

from fairseq_kd.signals import Wanted


def test_union_of_two_wanted():
    both = Wanted.of(states=[0, 2]) | Wanted.of(logits=True, states=[1], attention=[3])
    assert both == Wanted.of(logits=True, states=[0, 1, 2], attention=[3])


def test_empty_wanted_is_false():
    assert not Wanted()
    assert Wanted.of(states=[0])
    assert Wanted(logits=True)


@pytest.mark.parametrize(
    ("wanted", "depth", "whole"),
    [
        (Wanted(), 0, []),
        (Wanted.of(states=[0]), 0, []),
        (Wanted.of(states=[2]), 2, [1, 2]),
        (Wanted.of(attention=[2]), 2, [1]),
        (Wanted.of(projections=[4], states=[4]), 4, [1, 2, 3, 4]),
        (Wanted.of(logits=True, attention=[1]), 4, [1, 2, 3, 4]),
    ],
)
def test_layers_that_must_run_of_a_model_of_four(wanted, depth, whole):
    assert wanted.depth(4) == depth
    assert [layer for layer in range(1, depth + 1) if wanted.runs_fully(layer, 4)] == whole
