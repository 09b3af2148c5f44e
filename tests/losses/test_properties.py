"""Properties of every loss: a sentence's loss depends on neither padding nor other sentences."""

import math

import pytest
import torch
from torch.testing import assert_close

from fairseq_kd.losses import (
    attention_kl,
    attention_mse,
    hidden_mse,
    kd,
    logits_mse,
    patience,
    pearson_attention,
    relation_kl,
    soft_cross_entropy,
    token_mse,
)

B, T, A, H = 3, 6, 2, 4
# Sentences of 6, 4 and 3 tokens; the last one's real tokens are no prefix.
MASK = torch.tensor([[1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0], [1, 0, 1, 0, 0, 1]]).bool()

# loss, shape of the student's input, shape of the teacher's, its token axes
LOSSES = {
    "hidden_mse": (hidden_mse, (B, T, H), (B, T, H), (1,)),
    "attention_mse": (attention_mse, (B, A, T, T), (B, A, T, T), (2, 3)),
    "attention_kl": (attention_kl, (B, A, T, T), (B, A, T, T), (2, 3)),
    "relation_kl": (relation_kl, (B, A, T, H), (B, A, T, H + 1), (2,)),
    "pearson_attention": (pearson_attention, (B, A, T, T), (B, A, T, T), (2, 3)),
    "token_mse": (lambda s, t, mask: token_mse(s, t), (B, H), (B, H), ()),
    "patience": (lambda s, t, mask: patience(s, t), (B, H), (B, H), ()),
    "kd": (lambda s, t, mask: kd(s, t, 2.0), (B, H), (B, H), ()),
    "soft_cross_entropy": (lambda s, t, mask: soft_cross_entropy(s, t, 2.0), (B, H), (B, H), ()),
    "logits_mse": (lambda s, t, mask: logits_mse(s, t), (B, H), (B, H), ()),
}
OF_TOKENS = [name for name, (_, _, _, axes) in LOSSES.items() if axes]
every_token_loss = pytest.mark.parametrize("name", OF_TOKENS)
every_loss = pytest.mark.parametrize("name", LOSSES)
# The batch term of Pearson is shared by the sentences, the documented exception.
every_loss_of_one_sentence = pytest.mark.parametrize("name", [n for n in LOSSES if n != "pearson_attention"])


def inputs(name, random):
    loss, student, teacher, axes = LOSSES[name]
    return loss, random(*student), random(*teacher), axes


def padded_entries(x, axes):
    """Return True where a query, a key or a token of x is padding."""
    padded = torch.zeros_like(x, dtype=torch.bool)
    for axis in axes:
        shape = [B if i == 0 else T if i == axis else 1 for i in range(x.dim())]
        padded |= ~MASK.view(shape)
    return padded


def real_only(x, b, axes):
    """Return sentence b of x, without its padded positions."""
    x = x[b, None]
    for axis in axes:
        x = x.index_select(axis, MASK[b].nonzero().flatten())
    return x


@every_loss_of_one_sentence
def test_batch_equals_its_sentences_one_by_one(name, random):
    loss, s, t, axes = inputs(name, random)
    alone = []
    for b in range(B):
        s_b, t_b = real_only(s, b, axes), real_only(t, b, axes)
        alone.append(loss(s_b, t_b, torch.ones(1, int(MASK[b].sum()), dtype=torch.bool)))
    assert_close(loss(s, t, MASK), torch.cat(alone), rtol=1e-12, atol=0)


@every_token_loss
@pytest.mark.parametrize("garbage", [math.nan, math.inf, -math.inf, 1e30])
def test_padding_never_reaches_loss_or_gradients(name, garbage, random):
    loss, s, t, axes = inputs(name, random)

    def value_and_gradients(s, t):
        s, t = s.clone().requires_grad_(), t.clone().requires_grad_()
        value = loss(s, t, MASK)
        return value.detach(), *torch.autograd.grad(value.sum(), (s, t))

    clean = value_and_gradients(s, t)
    dirty = value_and_gradients(
        s.masked_fill(padded_entries(s, axes), garbage), t.masked_fill(padded_entries(t, axes), garbage)
    )

    for expected, found in zip(clean, dirty, strict=True):
        assert_close(found, expected, rtol=0, atol=0)
    assert clean[1][padded_entries(s, axes)].abs().max() == 0


@every_loss
def test_gradients_equal_finite_differences(name, random):
    loss, s, t, _ = inputs(name, random)
    assert torch.autograd.gradcheck(lambda s, t: loss(s, t, MASK), (s.requires_grad_(), t.requires_grad_()))


@every_loss
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_inputs_are_computed_in_float32(name, dtype, random):
    loss, s, t, _ = inputs(name, random)
    s, t = s.to(dtype), t.to(dtype)
    found = loss(s, t, MASK)
    assert found.dtype == torch.float32
    assert_close(found.double(), loss(s.double(), t.double(), MASK), rtol=1e-5, atol=1e-6)

    # A student in float32 may have a teacher in half precision.
    assert_close(loss(s.float(), t, MASK), found, rtol=1e-6, atol=1e-7)


@every_loss
def test_autocast_does_not_change_the_loss(name, random):
    loss, s, t, _ = inputs(name, random)
    s, t = s.float(), t.float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = loss(s, t, MASK)
    assert_close(inside, loss(s, t, MASK), rtol=0, atol=0)


@every_token_loss
def test_sentence_without_real_tokens_has_a_finite_loss(name, random):
    loss, s, t, _ = inputs(name, random)
    s.requires_grad_()
    value = loss(s, t, MASK & torch.tensor([[True], [True], [False]]))
    value.sum().backward()
    assert value.isfinite().all()
    assert s.grad.isfinite().all()
    if name != "pearson_attention":
        assert value[2] == 0


@every_loss_of_one_sentence
def test_equal_sides_have_the_lowest_loss(name, random):
    loss, s, _, _ = inputs(name, random)
    if name == "soft_cross_entropy":
        assert torch.autograd.grad(loss(s.requires_grad_(), s.detach(), MASK).sum(), s)[0].abs().max() < 1e-12
        return
    assert_close(loss(s, s, MASK), torch.zeros(B, dtype=s.dtype), rtol=0, atol=1e-12)
