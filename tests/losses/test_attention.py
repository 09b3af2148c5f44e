"""Attention losses, compared with loops over heads, queries and keys."""

import math

import pytest
import torch
from torch.testing import assert_close

from fairseq_kd.losses import attention_kl, attention_mse

MASK = torch.tensor([[1, 1, 1, 1], [1, 0, 1, 0]]).bool()


def softmax(scores):
    exponentials = [math.exp(x) for x in scores]
    return [x / sum(exponentials) for x in exponentials]


def test_attention_kl_equals_explicit_loops(random):
    s, t = random(2, 3, 4, 4), random(2, 3, 4, 4)

    expected = []
    for b in range(2):
        real = [i for i in range(4) if MASK[b, i]]
        total = 0.0
        for a in range(3):
            for i in real:
                p_s = softmax([s[b, a, i, j].item() for j in real])
                p_t = softmax([t[b, a, i, j].item() for j in real])
                total += sum(q * math.log(q / p) for p, q in zip(p_s, p_t, strict=True))
        expected.append(total / (3 * len(real)))

    assert_close(attention_kl(s, t, MASK), torch.tensor(expected, dtype=s.dtype))


def test_attention_mse_equals_explicit_loops(random):
    s, t = random(2, 3, 4, 4), random(2, 3, 4, 4)

    expected = []
    for b in range(2):
        real = [i for i in range(4) if MASK[b, i]]
        squares = [(s[b, a, i, j] - t[b, a, i, j]).item() ** 2 for a in range(3) for i in real for j in real]
        expected.append(sum(squares) / len(squares))

    assert_close(attention_mse(s, t, MASK), torch.tensor(expected, dtype=s.dtype))


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
