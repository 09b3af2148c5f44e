"""Hidden-state losses by hand, and the module of mapping "combine"."""

import math

import pytest
import torch
from torch.testing import assert_close

from fairseq_kd.losses import Combine, hidden_mse, patience, token_mse
from tests.originals import check_original, recorded, with_gradients


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


def test_combine_at_one_position(random):
    """The criterion tests compare it at all positions with the original."""
    module, s, t = Combine(4, 3, 5, 2).double(), random(4, 6, 3), random(5, 6, 2)
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


def test_padded_hidden_mse_equals_the_original():
    """The original averages over all real tokens of the batch."""
    d = with_gradients(recorded("textbrewer_hid_mse"), "student_hidden")
    lengths = d["in_mask"].sum(dim=1)
    each = hidden_mse(d["in_student_hidden"], d["in_teacher_hidden"], d["in_mask"].bool())
    check_original(d, each, ["student_hidden"], lengths / lengths.sum().double())


def patience_layers(d):
    s, t = d["in_student_patience"], d["in_teacher_patience"]
    return sum(patience(s[:, j], t[:, j], normalize=d["opt_normalize"]) for j in range(s.size(1))) / s.size(1)


def patience_of_states(d):
    """Return the sum over the dimensions."""
    s, t = d["in_student_hidden"], d["in_teacher_hidden"]
    return 24 * sum(patience(s[i][:, 0], t[j][:, 0]) for i, j in [(0, 0), (1, 4), (2, 8), (3, 12)])


def patience_of_one_state(d):
    return 24 * patience(d["in_student_hidden"][:, 0], d["in_teacher_hidden"][:, 0])


@pytest.mark.parametrize(
    ("name", "compute", "leaf", "weights", "rtol"),
    [
        ("pkd_normalized", patience_layers, "student_patience", None, 1e-6),  # float32 there
        ("pkd_unnormalized", patience_layers, "student_patience", None, 1e-6),
        ("pkd_acl2023", patience_of_states, "student_hidden", 1.0, 1e-9),  # the sum over the batch
        ("textbrewer_pkd", patience_of_one_state, "student_hidden", None, 1e-9),
    ],
)
def test_patience_equals_the_original(name, compute, leaf, weights, rtol):
    d = with_gradients(recorded(name), leaf)
    check_original(d, compute(d), [leaf], weights, rtol=rtol)
