"""Losses computed in blocks, compared with the same losses on whole tensors."""

from functools import partial

import pytest
import torch
from torch.testing import assert_close

from fairseq_kd.losses import (
    Factors,
    attention_kl,
    attention_mse,
    relation_kl,
    score_blocks,
)

# A mask with padding at the end, in the middle and nowhere; a sentence of one token.
MASK = torch.tensor([[1, 1, 1, 1, 0], [1, 0, 1, 1, 0], [1, 1, 1, 1, 1], [1, 0, 0, 0, 0]]).bool()
LOSSES = {
    "kl": attention_kl,
    "clamped": partial(attention_kl, clamp=0.05),
    "mse": attention_mse,
}


def scores(queries, keys):
    return queries @ keys.transpose(-2, -1) / queries.size(-1) ** 0.5


@pytest.fixture(params=["one block", "a sentence a block", "two queries a block"])
def size(request, monkeypatch):
    """Divide a batch of 3 heads and 5 tokens in three ways."""
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    sizes = {"one block": 1 << 19, "a sentence a block": 75, "two queries a block": 30}
    monkeypatch.setattr(score_blocks, "CPU_BLOCK", sizes[request.param])
    return request.param


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("cached", [False, True])
def test_values_and_gradients_are_those_of_whole_tensors(random, size, name, cached):
    loss_of = LOSSES[name]
    q, k, t_q, t_k = (random(4, 3, 5, 2) for _ in range(4))
    upstream = random(4)

    gradients = []
    for compute in (
        lambda q, k: loss_of(Factors(q, k), scores(t_q, t_k) if cached else Factors(t_q, t_k), MASK),
        lambda q, k: loss_of(scores(q, k), scores(t_q, t_k), MASK),
    ):
        leaves = q.clone().requires_grad_(), k.clone().requires_grad_()
        loss = compute(*leaves)
        gradients.append((loss.detach(), *torch.autograd.grad(loss, leaves, upstream)))
    for found, expected in zip(*gradients, strict=True):
        assert_close(found, expected)
    assert gradients[0][0].min() >= 0
    assert gradients[0][0][:3].min() > 0


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_equal_finite_differences(random, size, name):
    t_q, t_k = random(4, 3, 5, 2), random(4, 3, 5, 2)
    leaves = random(4, 3, 5, 2).requires_grad_(), random(4, 3, 5, 2).requires_grad_()
    assert torch.autograd.gradcheck(lambda q, k: LOSSES[name](Factors(q, k), Factors(t_q, t_k), MASK), leaves)


def test_padding_may_hold_anything(random, size):
    clean = [random(4, 3, 5, 2) for _ in range(4)]
    dirty = [x.masked_fill(~MASK[:, None, :, None], float("nan")) for x in clean]
    for loss_of in LOSSES.values():
        results = []
        for q, k, t_q, t_k in (clean, dirty):
            leaves = q.clone().requires_grad_(), k.clone().requires_grad_()
            loss = loss_of(Factors(*leaves), Factors(t_q, t_k), MASK)
            results.append((loss, *torch.autograd.grad(loss.sum(), leaves)))
        for expected, found in zip(*results, strict=True):
            assert_close(found, expected)
        assert (results[1][1].masked_select(~MASK[:, None, :, None]) == 0).all()


def test_other_devices_get_blocks_without_a_look_at_the_mask(monkeypatch):
    mask = torch.ones(3, 8, dtype=torch.bool, device="meta")
    monkeypatch.setattr(score_blocks, "BLOCK", 2 * 64 * 2)
    blocks = list(score_blocks._blocks(mask, heads=2))
    assert [block.sentences for block in blocks] == [slice(0, 2), slice(2, 4)]
    assert [block.rows for block in blocks] == 2 * [slice(0, 8)]
    monkeypatch.setattr(score_blocks, "BLOCK", 64)
    assert [block.rows for block in score_blocks._blocks(mask, 2)] == 3 * [slice(0, 4), slice(4, 8)]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_16_bits_are_computed_in_32(random, dtype):
    q, k, t_q, t_k = (random(4, 3, 5, 2).to(dtype) for _ in range(4))
    leaf = q.clone().requires_grad_()
    loss = attention_kl(Factors(leaf, k), Factors(t_q, t_k), MASK)
    loss.sum().backward()
    assert (loss.dtype, leaf.grad.dtype) == (torch.float32, dtype)
    expected = attention_kl(scores(q.float(), k.float()), scores(t_q.float(), t_k.float()), MASK)
    assert_close(loss.detach(), expected)


def test_long_relations_keep_no_square_tensor(random):
    """The whole tensor would have 2 x 3 x 300 x 300 numbers; what is kept has the size of the vectors."""
    x = random(2, 3, 300, 4).requires_grad_()
    sizes = []
    with torch.autograd.graph.saved_tensors_hooks(lambda x: sizes.append(x.numel()) or x, lambda x: x):
        relation_kl(x, random(2, 3, 300, 4), torch.ones(2, 300, dtype=torch.bool)).sum().backward()
    assert max(sizes) <= x.numel()
    assert x.grad.abs().max() > 0
