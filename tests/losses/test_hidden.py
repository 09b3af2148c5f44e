"""Hidden-state losses by hand, and the module of mapping "combine"."""

import math

import pytest
import torch
from torch.testing import assert_close

from fairseq_kd.losses import Combine, hidden_mse, patience, token_mse


def test_hidden_mse_by_hand():
    """Differences (1, 2) and (3, 4) at the two real tokens: (1 + 4 + 9 + 16) / (2 tokens * 2 dimensions)."""
    t = torch.zeros(1, 3, 2)
    s = torch.tensor([[[1.0, 2.0], [99.0, 99.0], [3.0, 4.0]]])
    assert hidden_mse(s, t, torch.tensor([[True, False, True]])).tolist() == [7.5]


def test_token_mse_by_hand():
    assert token_mse(torch.tensor([[1.0, 2.0], [0.0, 3.0]]), torch.zeros(2, 2)).tolist() == [2.5, 4.5]


def test_patience_by_hand():
    """Directions (1, 0) and (3/5, 4/5): ((2/5)^2 + (4/5)^2) / 2, for any lengths."""
    s, t = torch.tensor([[7.0, 0.0]]), torch.tensor([[30.0, 40.0]])
    assert patience(s, t).item() == pytest.approx(0.4)
    assert patience(s, t, normalize=False).item() == pytest.approx((23**2 + 40**2) / 2)


@pytest.mark.parametrize("loss", [token_mse, patience])
def test_gradients_of_one_position_equal_finite_differences(loss, random):
    assert torch.autograd.gradcheck(loss, (random(3, 4).requires_grad_(), random(3, 4).requires_grad_()))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_one_position_in_half_precision_is_computed_in_float32(dtype, random):
    s, t = random(3, 8).to(dtype), random(3, 8).to(dtype)
    for loss in (token_mse, patience):
        found = loss(s, t)
        assert found.dtype == torch.float32
        assert_close(found.double(), loss(s.double(), t.double()), rtol=1e-5, atol=0)


def combined(golden):
    """Return the recorded case: 3 layers of width 24 learn from 12, embedding outputs included."""
    d = golden("hidden_mse_learn_combine", torch.float64)
    module = Combine(4, 24, 13, 24).double()
    with torch.no_grad():
        module.projection.weight.copy_(d["in_weight"])
        module.projection.bias.copy_(d["in_bias"])
    return d, module


def test_combine_equals_the_original_with_gradients(golden):
    d, module = combined(golden)
    mask = torch.ones(3, 7, dtype=torch.bool)
    s = d["in_student_hidden"].requires_grad_()

    ours = hidden_mse(*module(s.unbind(), d["in_teacher_hidden"].unbind(), mask), mask)
    ours.mean().backward()

    assert ours.mean().item() == pytest.approx(d["out_loss"], rel=1e-9)
    assert_close(s.grad, d["grad_student_hidden"], rtol=1e-9, atol=1e-12)
    assert_close(module.projection.weight.grad, d["grad_weight"], rtol=1e-9, atol=1e-12)
    assert_close(module.projection.bias.grad, d["grad_bias"], rtol=1e-9, atol=1e-12)


def test_combine_at_one_position(golden):
    d, module = combined(golden)
    s, t = d["in_student_hidden"][:, :, 0], d["in_teacher_hidden"][:, :, 0]
    expected = (torch.cat(list(s), -1) - module.projection(torch.cat(list(t), -1))).square().mean(dim=-1)
    assert_close(token_mse(*module(s, t)), expected)


def test_combine_learns_nothing_from_padding(random):
    module = Combine(2, 3, 4, 5).double()
    mask = torch.tensor([[1, 1, 1, 0], [1, 0, 1, 0]]).bool()
    s, t = random(2, 2, 4, 3), random(4, 2, 4, 5)
    gradients = []
    for garbage in (0.0, math.nan, math.inf):
        states = [x.masked_fill(~mask[:, :, None], garbage) for x in t]
        value = hidden_mse(*module(s.unbind(), states, mask), mask).sum()
        gradients.append(torch.autograd.grad(value, module.projection.weight)[0])
        assert t.isfinite().all()
    assert_close(gradients[1], gradients[0], rtol=0, atol=0)
    assert_close(gradients[2], gradients[0], rtol=0, atol=0)
