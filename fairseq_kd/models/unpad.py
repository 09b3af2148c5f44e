"""Packs a padded batch, so that token-wise layers process real tokens only.

The number of real tokens differs between batches. On a CPU, the matrix library prepares a kernel for each matrix size.
It caches a thousand of them, which takes gigabytes in a long training. Filler rows reduce the number of sizes.
"""

from dataclasses import dataclass
from typing import Any, Optional

import torch
from torch import Tensor
from torch.autograd import Function

# Scores of one head that occupy a thread.
SCORES_OF_A_THREAD = 1 << 13


@dataclass(frozen=True)
class Packing:
    """Positions of the real tokens of a padded batch [B, T]; N rows with filler, whose outputs are not used.

    real  positions of real tokens in the flattened batch, ascending; None without padding, then N = B T
    rows  [N] positions of all rows: those in `real`, then 0 for filler
    lengths  rows of each sentence, where attention of each sentence alone is faster; else None (see `has_enough_work`)
    """

    batch: int
    length: int
    real: Optional[Tensor]
    rows: Optional[Tensor]
    lengths: Optional[list[int]] = None

    @classmethod
    def of(cls, mask: Tensor, real: Optional[Tensor], padded: bool) -> "Packing":
        """Return the packing of a mask [B, T], True = real token.

        Computing the positions from the mask synchronises with the device. Pass `real`, or `padded=False`, to avoid this
        wait in each training step.
        """
        if padded and real is None:
            real = mask.flatten().nonzero().squeeze(1)
        batch, length = mask.shape
        rows = torch.cat((real, real.new_zeros(filler(len(real))))) if padded else None
        alone = mask.device.type == "cpu" and has_enough_work(length)
        lengths = mask.sum(dim=1).tolist() if alone else None
        return cls(batch, length, real if padded else None, rows, lengths)

    def pack(self, x: Tensor) -> Tensor:
        """Select the rows of a padded tensor: [B, T, ...] -> [N, ...]."""
        x = x.flatten(0, 1)
        return x if self.rows is None else _Rows.apply(x, self.rows, self.real)

    def unpack(self, x: Tensor) -> Tensor:
        """Return the padded tensor, 0 at padded positions: [N, ...] -> [B, T, ...]."""
        if self.real is not None:
            x = _Padded.apply(x, self.rows, self.real, self.batch * self.length)
        return x.unflatten(0, (self.batch, self.length))

    def key_bias(self, mask: Tensor, dtype: torch.dtype) -> Optional[Tensor]:
        """Return the attention bias [B, 1, 1, T]: the lowest number at padded keys, else 0.

        None without padding.
        """
        return None if self.real is None else attention_bias(mask, dtype)


class _Rows(Function):
    """`x[rows]` with a gradient for the real rows only.

    Each real row occurs once, so its gradient is copied. The gradient of index_select would be summed, on a GPU by
    atomic operations: slower, and in an order that differs between runs.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, rows: Tensor, real: Tensor) -> Tensor:
        ctx.save_for_backward(real)
        ctx.count = len(x)
        return x.index_select(0, rows)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (real,) = ctx.saved_tensors
        unpacked = gradient.new_zeros(ctx.count, *gradient.shape[1:])
        return unpacked.index_copy_(0, real, gradient[: len(real)]), None, None


class _Padded(Function):
    """The inverse of `_Rows`: 0 at padded positions, and a gradient of 0 for filler."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, rows: Tensor, real: Tensor, count: int) -> Tensor:
        ctx.save_for_backward(rows, real)
        unpacked = x.new_zeros(count, *x.shape[1:])
        return unpacked.index_copy_(0, real, x[: len(real)])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        rows, real = ctx.saved_tensors
        packed = gradient.index_select(0, rows)
        packed[len(real) :] = 0
        return packed, None, None, None


def has_enough_work(length: int) -> bool:
    """Return whether one sentence of this length has enough attention scores for all threads of a CPU.

    With several threads, a padded batch of short sentences is faster. Other devices always get a padded batch: reading
    the lengths would wait for them.
    """
    threads = torch.get_num_threads()
    return threads == 1 or length**2 >= threads * SCORES_OF_A_THREAD


def attention_bias(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """Return [B, 1, 1, T]: the lowest number at padded keys, else 0. mask [B, T], True = real token"""
    bias = torch.zeros_like(mask, dtype=dtype).masked_fill_(~mask, torch.finfo(dtype).min)
    return bias[:, None, None, :]


def filler(real: int) -> int:
    """Return the number of filler rows: up to the next multiple of 16, or of about 1/64 of `real` if that is larger."""
    step = max(16, 1 << max(0, real.bit_length() - 7))
    return -real % step
