"""Attention of packed sentences, compared with the formula and with finite differences."""

import pytest
import torch
from torch.testing import assert_close

from fairseq_kd.models import attention
from fairseq_kd.models.attention import packed_attention

HEADS, LENGTHS, FILLER = 2, [5, 0, 7, 3], 1


@pytest.fixture(params=[attention.BLOCK, 12], ids=["whole sentences", "blocks of queries"])
def block(request, monkeypatch):
    monkeypatch.setattr(attention, "BLOCK", request.param)


@pytest.fixture
def qkv():
    generator = torch.Generator().manual_seed(1)
    return torch.randn(sum(LENGTHS) + FILLER, 24, generator=generator, dtype=torch.float64).requires_grad_()


def expected(qkv, drop=lambda p: p):
    outputs, begin = [], 0
    for length in filter(None, LENGTHS):
        q, k, v = qkv[begin : begin + length].view(length, 3, HEADS, -1).permute(1, 2, 0, 3)
        p = torch.softmax(q @ k.transpose(1, 2) / q.size(-1) ** 0.5, dim=-1)
        outputs.append((drop(p) @ v).transpose(0, 1).flatten(1))
        begin += length
    return torch.cat([*outputs, qkv.new_zeros(FILLER, 8)])


def test_output_and_gradient_are_those_of_the_formula(qkv, block):
    found, wanted = packed_attention(qkv, LENGTHS, HEADS), expected(qkv)
    assert_close(found, wanted)
    weights = torch.arange(found.numel(), dtype=torch.float64).view_as(found)
    assert_close(torch.autograd.grad(found, qkv, weights)[0], torch.autograd.grad(wanted, qkv, weights)[0])


@pytest.mark.slow
def test_gradient_with_dropout_equals_finite_differences(qkv, block):
    def with_the_same_dropout(x):
        torch.manual_seed(3)
        return packed_attention(x, LENGTHS, HEADS, 0.3)

    assert not torch.allclose(with_the_same_dropout(qkv), expected(qkv))
    assert torch.autograd.gradcheck(with_the_same_dropout, qkv)


@pytest.mark.slow
def test_dropout_keeps_the_mean(qkv):
    torch.manual_seed(1)
    with torch.no_grad():
        mean = sum(packed_attention(qkv, LENGTHS, HEADS, 0.1) for _ in range(2000)) / 2000
        assert_close(mean, expected(qkv), rtol=0, atol=0.05)


def test_nothing_of_the_size_of_the_scores_is_kept():
    qkv, sizes = torch.randn(400, 24, requires_grad=True), []
    with torch.autograd.graph.saved_tensors_hooks(lambda x: sizes.append(x.numel()) or x, lambda x: x):
        packed_attention(qkv, [400], HEADS, 0.1).sum().backward()
    assert sizes == [qkv.numel()]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_16_bits_stay_close_and_in_their_type(qkv, dtype):
    half = qkv.detach().to(dtype).requires_grad_()
    found = packed_attention(half, LENGTHS, HEADS)
    found.sum().backward()
    assert (found.dtype, half.grad.dtype) == (dtype, dtype)
    assert_close(found.double(), expected(half.detach().double()), rtol=0, atol=0.03)


@pytest.mark.parametrize(("at_once", "expected_draws"), [(1000, [2 * (25 + 49 + 9)]), (64, [64, 98, 18])])
def test_short_sentences_draw_only_the_dropout_that_they_need(qkv, monkeypatch, at_once, expected_draws):
    drawn, original = [], attention.keep_mask

    def counted(shape, *options):
        drawn.append(shape[0])
        return original(shape, *options)

    monkeypatch.setattr(attention, "keep_mask", counted)
    monkeypatch.setattr(attention, "DRAW", at_once)
    packed_attention(qkv, LENGTHS, HEADS, 0.3)
    assert drawn == expected_draws
