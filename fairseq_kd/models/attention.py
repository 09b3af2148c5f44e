"""Attention of a packed batch on a CPU: each sentence alone, so that padding costs nothing and nothing is copied.

Long sentences are computed in blocks of queries. No tensor of size T x T is kept: the backward pass computes the
probabilities again, and draws the same dropout again.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Optional

import torch
from torch import Tensor
from torch.autograd.function import Function, once_differentiable

from .dropout import keep_mask

# Largest number of scores [queries, keys] of a block, per head. 12 heads in fp32 take 1.5 MB, which fits into a cache.
BLOCK = 1 << 15

# Largest number of dropout values that are drawn at once, unless one block needs more.
DRAW = 1 << 20

SEEDS = 1 << 62


def packed_attention(qkv: Tensor, lengths: Sequence[int], heads: int, dropout: float = 0.0) -> Tensor:
    """Return softmax(Q K^T / sqrt(d)) V of each sentence, with dropout of the probabilities.

    qkv      [N, 3 A d]  queries, keys and values of a packed batch
    lengths  rows of each sentence, in their order; rows after them are filler
    Returns [N, A d]; 0 for filler.
    """
    seed = int(torch.randint(SEEDS, ())) if dropout else 0
    return _PackedAttention.apply(qkv, lengths, heads, dropout, seed)


class _PackedAttention(Function):
    @staticmethod
    def forward(
        ctx: Any, qkv: Tensor, lengths: Sequence[int], heads: int, dropout: float, seed: int
    ) -> Tensor:
        ctx.save_for_backward(qkv)
        ctx.options = lengths, heads, dropout, seed
        output = qkv.new_empty(len(qkv), qkv.size(1) // 3)
        masks = _Masks(dropout, seed, qkv.dtype, _scores(lengths, heads))
        with torch.autocast("cpu", enabled=False):
            for rows in _sentences(lengths):
                q, k, v = _heads(qkv[rows], 3, heads)
                (mixed,) = _heads(output[rows], 1, heads)
                for block in _blocks(len(q[0])):
                    p = _probabilities(q[:, block], k)
                    mixed[:, block] = torch.bmm(_drop(p, masks.next(p)), v)
        output[sum(lengths) :] = 0
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Optional[Tensor], ...]:
        (qkv,), (lengths, heads, dropout, seed) = ctx.saved_tensors, ctx.options
        # Zeros for filler, and for the sums over the blocks of a sentence.
        result = torch.zeros_like(qkv)
        masks = _Masks(dropout, seed, qkv.dtype, _scores(lengths, heads))
        with torch.autocast("cpu", enabled=False):
            for rows in _sentences(lengths):
                q, k, v = _heads(qkv[rows], 3, heads)
                d_q, d_k, d_v = _heads(result[rows], 3, heads)
                (d_mixed,) = _heads(gradient[rows].to(qkv.dtype), 1, heads)
                scale = q.size(-1) ** -0.5
                for block in _blocks(len(q[0])):
                    p = _probabilities(q[:, block], k)
                    keep = masks.next(p)
                    d_v += torch.bmm(_drop(p, keep).transpose(1, 2), d_mixed[:, block])
                    d_p = _drop(torch.bmm(d_mixed[:, block], v.transpose(1, 2)), keep)
                    d_scores = torch._softmax_backward_data(d_p, p, -1, p.dtype)
                    d_q[:, block] = _product(d_scores, k, scale)
                    d_k += _product(d_scores.transpose(1, 2), q[:, block], scale)
        return result, None, None, None, None


class _Masks:
    """The dropout of successive blocks: the same for the same seed and number of values in all blocks."""

    def __init__(self, dropout: float, seed: int, dtype: torch.dtype, count: int) -> None:
        self.dropout, self.dtype, self.left = dropout, dtype, count
        self.generator = torch.Generator().manual_seed(seed) if dropout else None
        self.values = torch.empty(0)

    def next(self, p: Tensor) -> Optional[Tensor]:
        """Return the factors of the next block of probabilities, in its shape; None without dropout."""
        if not self.dropout:
            return None
        count = p.numel()
        if len(self.values) < count:
            drawn = max(count, min(DRAW, self.left))
            self.values = keep_mask([drawn], self.dropout, self.dtype, self.generator)
        self.left -= count
        factors, self.values = self.values[:count].view_as(p), self.values[count:]
        return factors


def _drop(p: Tensor, keep: Optional[Tensor]) -> Tensor:
    return p if keep is None else p * keep


def _scores(lengths: Sequence[int], heads: int) -> int:
    """Return the number of attention scores of all sentences."""
    return heads * sum(length**2 for length in lengths)


def _sentences(lengths: Sequence[int]) -> Iterator[slice]:
    """Yield the rows of each sentence."""
    begin = 0
    for length in lengths:
        if length:
            yield slice(begin, begin + length)
        begin += length


def _blocks(length: int) -> Iterator[slice]:
    """Yield slices of the queries of a sentence with `length` tokens."""
    size = max(1, BLOCK // length)
    return (slice(begin, begin + size) for begin in range(0, length, size))


def _heads(x: Tensor, parts: int, heads: int) -> tuple[Tensor, ...]:
    """Return views of the parts of x [n, parts A d], each [A, n, d]."""
    return x.view(len(x), parts, heads, -1).permute(1, 2, 0, 3).unbind()


def _probabilities(q: Tensor, k: Tensor) -> Tensor:
    """Return the softmax of the scaled scores: [A, r, d], [A, n, d] -> [A, r, n]."""
    return _product(q, k.transpose(1, 2), q.size(-1) ** -0.5).softmax(-1)


def _product(a: Tensor, b: Tensor, scale: float) -> Tensor:
    return torch.baddbmm(a.new_empty(()), a, b, beta=0, alpha=scale)
