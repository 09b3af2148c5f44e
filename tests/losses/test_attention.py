"""Attention losses, compared with loops over heads, queries and keys, and with the originals."""

import math
from itertools import product

import pytest
import torch
from torch.testing import assert_close

from fairseq_kd.losses import attention_kl, attention_mse
from tests.originals import check_original, recorded, with_gradients

MASK = torch.tensor([[1, 1, 1, 1], [1, 0, 1, 0]]).bool()


def softmax(scores):
    exponentials = [math.exp(x) for x in scores]
    return [x / sum(exponentials) for x in exponentials]


@pytest.mark.parametrize("loss", [attention_kl, attention_mse])
def test_losses_equal_explicit_loops(random, loss):
    s, t = random(2, 3, 4, 4), random(2, 3, 4, 4)

    expected = []
    for b in range(2):
        real = [i for i in range(4) if MASK[b, i]]
        terms = []
        for a, i in product(range(3), real):
            mine, theirs = ([x[b, a, i, j].item() for j in real] for x in (s, t))
            if loss is attention_kl:
                pairs = zip(softmax(mine), softmax(theirs), strict=True)
                terms.append(sum(q * math.log(q / p) for p, q in pairs))
            else:
                terms.append(sum((p - q) ** 2 for p, q in zip(mine, theirs, strict=True)) / len(real))
        expected.append(sum(terms) / len(terms))
    assert_close(loss(s, t, MASK), torch.tensor(expected, dtype=s.dtype))


def test_kl_is_from_teacher_to_student():
    """One query, two keys: teacher (1/2, 1/2), student (1/4, 3/4); KL(t || s) = log 2 - log(3)/2."""
    t = torch.zeros(1, 1, 2, 2, dtype=torch.float64)
    s = torch.tensor([[0.0, math.log(3)], [0.0, math.log(3)]], dtype=torch.float64).expand(1, 1, 2, 2)
    expected = math.log(2) - math.log(3) / 2
    assert_close(attention_kl(s, t, torch.ones(1, 2).bool()).item(), expected)


def test_clamped_kl_loses_the_gradient_and_exact_kl_keeps_it():
    """The teacher attends to key 1, to which the student gives probability exp(-40)."""
    t = torch.tensor([[[[-40.0, 0.0], [-40.0, 0.0]]]])
    s = -t
    mask = torch.ones(1, 2).bool()
    gradients = {}
    for clamp in (None, 1e-7):
        leaf = (s - 40).requires_grad_()
        value = attention_kl(leaf, t, mask, clamp=clamp)
        gradients[clamp] = torch.autograd.grad(value.sum(), leaf)[0].abs().max().item()
        assert value.item() == pytest.approx(40 if clamp is None else -math.log(1e-7), rel=1e-6)
    assert gradients == pytest.approx({None: 0.5, 1e-7: 0.0}, abs=1e-12)


def test_padded_attention_mse_equals_the_original():
    """The original averages over all real pairs of the batch."""
    d = with_gradients(recorded("textbrewer_att_mse"), "student_attention")
    pairs = d["in_mask"].sum(dim=1).double() ** 2
    each = attention_mse(d["in_student_attention"], d["in_teacher_attention"], d["in_mask"].bool())
    check_original(d, each, ["student_attention"], pairs / pairs.sum())


def test_kl_and_the_teachers_entropy_equal_the_cross_entropy_of_the_original():
    d = with_gradients(recorded("textbrewer_att_ce"), "student_attention")
    s, t = d["in_student_attention"], d["in_teacher_attention"]
    entropy = -(t.softmax(dim=-1) * t.log_softmax(dim=-1)).sum(dim=-1).mean(dim=(1, 2))
    check_original(d, attention_kl(s, t, torch.ones(3, 7).bool()) + entropy, ["student_attention"])
