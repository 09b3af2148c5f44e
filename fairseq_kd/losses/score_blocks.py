"""Losses on attention scores that are computed in blocks, so that no tensor of size T x T is kept.

    scores  Q K^T / sqrt(d) of a layer, from queries and keys [B, A, T, d]; or a given tensor [B, A, T, T]

The gradient of queries and keys is proportional to the gradient of a sentence's loss. So the forward pass computes it
for 1, from the scores of each block, and the backward pass multiplies it. The values are those of `attention.py`.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import Function, once_differentiable

from .precision import at_least_float32, lowest

# Largest number of scores of a block, all heads together. On a CPU, it has 2 MB of fp32 for each thread, which fits into
# a cache. On other devices, large blocks need fewer calls.
CPU_BLOCK, BLOCK = 1 << 19, 1 << 24


@dataclass(frozen=True)
class Factors:
    """Attention scores Q K^T / sqrt(d), as their factors.

    queries, keys  [B, A, T, d] each; the same tensor for the relations of MiniLM
    """

    queries: Tensor
    keys: Tensor

    def whole(self, mask: Tensor) -> Tensor:
        """Return the scores [B, A, T, T] in float32 or better, 0 at padding. mask [B, T], True = real token"""
        padding, dtype = ~mask[:, None, :, None], at_least_float32(self.queries)
        # Before the product: at padded positions, a gradient of 0 times NaN would be NaN.
        queries, keys = (x.to(dtype).masked_fill(padding, 0.0) for x in (self.queries, self.keys))
        # Autocast would round the products before the softmax.
        with torch.autocast(mask.device.type, enabled=False):
            return (queries * queries.size(-1) ** -0.5) @ keys.transpose(-1, -2)


@dataclass(frozen=True)
class _Block:
    """Some queries of some sentences, with all keys up to `tokens`; `padding` [b, tokens] is None if all are real."""

    sentences: slice
    tokens: int
    rows: slice
    padding: Tensor | None


# Scores of student and teacher [b, A, r, t] -> the loss of each pair of tokens, and its gradient by the student's scores.
Rule = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


def mse_rule(s: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    """Return (s - t)^2 and 2 (s - t); overwrites s."""
    difference = s.sub_(t)
    return difference.square(), difference.mul_(2)


def kl_rule(s: Tensor, t: Tensor, clamp: float | None = None) -> tuple[Tensor, Tensor]:
    """Return p_t (log p_t - log p_s) and p_s - p_t, for softmax over keys; see `attention_kl` for `clamp`."""
    log_p_s, log_p_t = s.log_softmax(dim=-1), t.log_softmax(dim=-1)
    p_s, p_t = log_p_s.exp(), log_p_t.exp()
    if clamp is None:
        return log_p_t.sub_(log_p_s).mul_(p_t), p_s.sub_(p_t)
    kept = p_t * (log_p_s >= math.log(clamp))
    loss = log_p_t.sub_(log_p_s.clamp(min=math.log(clamp))).mul_(p_t)
    return loss, p_s * kept.sum(dim=-1, keepdim=True) - kept


def loss_in_blocks(s: Factors, t: Factors | Tensor, mask: Tensor, rule: Rule, divisor: Tensor) -> Tensor:
    """Return the sum of a rule over heads and real pairs of tokens, divided by `divisor` [B]: [B].

    There is no gradient for the teacher.

    s, t  scores with equal numbers of heads; t also [B, A, T, T]
    mask  [B, T], True = real token
    """
    teacher = (t.queries, t.keys) if isinstance(t, Factors) else (t, None)
    return _ScoreLoss.apply(s.queries, s.keys, *teacher, mask, rule, divisor)


class _ScoreLoss(Function):
    @staticmethod
    def forward(
        ctx: Any,
        s_queries: Tensor,
        s_keys: Tensor,
        t_queries: Tensor,
        t_keys: Tensor | None,
        mask: Tensor,
        rule: Rule,
        divisor: Tensor,
    ) -> Tensor:
        dtype, device = at_least_float32(s_queries, t_queries), mask.device
        scale, weight = s_queries.size(-1) ** -0.5, divisor.to(dtype).reciprocal()
        loss = torch.zeros(len(mask), dtype=dtype, device=device)
        gradients = None
        if any(ctx.needs_input_grad[:2]):
            gradients = [torch.zeros(s_keys.shape, dtype=dtype, device=device) for _ in range(2)]

        # Autocast would round the products before the softmax.
        with torch.autocast(device.type, enabled=False):
            for block in _blocks(mask, s_queries.size(1)):
                q, k = _rows(s_queries, block, dtype)[:, :, block.rows], _rows(s_keys, block, dtype)
                s = _product(q, k.transpose(2, 3), scale)
                if t_keys is None:
                    t = t_queries[block.sentences, :, block.rows, : block.tokens].to(dtype)
                else:
                    t_q = _rows(t_queries, block, dtype)[:, :, block.rows]
                    t = _product(t_q, _rows(t_keys, block, dtype).transpose(2, 3), t_q.size(-1) ** -0.5)
                each, gradient = _masked(rule, s, t, block)

                weights = weight[block.sentences]
                loss[block.sentences] += each.sum(dim=(1, 2, 3)) * weights
                if gradients is not None:
                    gradient.mul_(weights[:, None, None, None])
                    gradients[0][block.sentences, :, block.rows] = _product(gradient, k, scale)
                    part = _product(gradient.transpose(2, 3), q, scale)
                    gradients[1][block.sentences, :, : block.tokens] += part
        if gradients is not None:
            ctx.save_for_backward(*gradients)
            ctx.dtype = s_queries.dtype
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        factor = gradient[:, None, None, None]
        d_queries, d_keys = (unit * factor for unit in ctx.saved_tensors)
        return d_queries.to(ctx.dtype), d_keys.to(ctx.dtype), None, None, None, None, None


def _blocks(mask: Tensor, heads: int) -> Iterator[_Block]:
    """Yield blocks that cover all pairs of real tokens.

    On a CPU, each sentence alone if the batch is too large for one block, so that little padding is computed. Lengths
    are not read from other devices, because that would wait for them.
    """
    sentences, tokens = mask.shape
    limit = CPU_BLOCK * torch.get_num_threads()
    if mask.device.type == "cpu" and sentences * heads * tokens**2 > limit:
        ends = ((mask * torch.arange(1, tokens + 1)).amax(dim=1)).tolist()
        real = mask.sum(dim=1).tolist()
        for number, (end, count) in enumerate(zip(ends, real, strict=True)):
            one = slice(number, number + 1)
            padding = None if end == count else ~mask[one, :end]
            yield from _split(one, end, max(1, limit // (heads * max(1, end))), padding)
        return

    size = max(1, BLOCK // (heads * tokens**2))
    for begin in range(0, sentences, size):
        some = slice(begin, begin + size)
        yield from _split(some, tokens, max(1, BLOCK // (heads * tokens)), ~mask[some])


def _split(sentences: slice, tokens: int, size: int, padding: Tensor | None) -> Iterator[_Block]:
    for begin in range(0, tokens, size):
        yield _Block(sentences, tokens, slice(begin, min(tokens, begin + size)), padding)


def _rows(x: Tensor, block: _Block, dtype: torch.dtype) -> Tensor:
    """Return the vectors of the block's sentences, 0 at padding: [B, A, T, d] -> [b, A, t, d]."""
    x = x[block.sentences, :, : block.tokens].to(dtype)
    return x if block.padding is None else x.masked_fill(block.padding[:, None, :, None], 0.0)


def _product(a: Tensor, b: Tensor, scale: float) -> Tensor:
    """Return scale * a b for matrices [b, A, .., ..]."""
    product = torch.baddbmm(a.new_empty(()), a.flatten(0, 1), b.flatten(0, 1), beta=0, alpha=scale)
    return product.unflatten(0, a.shape[:2])


def _masked(rule: Rule, s: Tensor, t: Tensor, block: _Block) -> tuple[Tensor, Tensor]:
    """Return loss and gradient of each pair, 0 where query or key is padding."""
    if block.padding is None:
        return rule(s, t)
    keys, queries = block.padding[:, None, None, :], block.padding[:, None, block.rows, None]
    # A padded key gets the same lowest score on both sides: its probability is 0, and so are both differences.
    each, gradient = rule(s.masked_fill_(keys, lowest(s)), t.masked_fill(keys, lowest(s)))
    return each.masked_fill_(queries, 0.0), gradient.masked_fill_(queries, 0.0)
