"""Dropout with a quarter of the random numbers."""

import torch
from torch import nn
from torch.testing import assert_close

from fairseq_kd.models.dropout import Dropout, keep_mask


def test_share_and_scale_are_those_of_the_probability():
    torch.manual_seed(1)
    mask = keep_mask([1000, 1001], 0.1, torch.float64)
    assert sorted(mask.unique().tolist()) == [0.0, 65536 / (65536 - 6554)]
    # The standard error of the share is 0.0003.
    assert abs((mask == 0).double().mean().item() - 6554 / 65536) < 0.0015
    assert abs(mask.mean().item() - 1) < 0.002


def test_values_are_independent():
    """Four neighbours share one random number."""
    torch.manual_seed(1)
    dropped = (keep_mask([100_000, 4], 0.5, torch.float64) == 0).double()
    assert_close(torch.corrcoef(dropped.T), torch.eye(4, dtype=torch.float64), rtol=0, atol=0.015)
    lagged = torch.stack([dropped[:-1, 0], dropped[1:, 0]])
    assert abs(torch.corrcoef(lagged)[0, 1].item()) < 0.015


def test_the_same_seed_draws_the_same():
    layer, x = Dropout(0.5), torch.ones(3, 7)
    results = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        results.append(layer(x))
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])


def test_gradient_is_that_of_the_mask():
    torch.manual_seed(1)
    x = torch.randn(5, 9, dtype=torch.float64).requires_grad_()
    y = Dropout(0.3)(x)
    assert_close(torch.autograd.grad(y.sum(), x)[0], (y / x).detach())


def test_evaluation_and_probability_0_change_nothing():
    x = torch.randn(3, 5)
    assert torch.equal(Dropout(0.5).eval()(x), x)
    state = torch.get_rng_state()
    assert torch.equal(Dropout(0.0)(x), x)
    assert torch.equal(torch.get_rng_state(), state)
    assert isinstance(Dropout(0.5), nn.Dropout)
