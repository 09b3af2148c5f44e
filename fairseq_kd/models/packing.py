"""Leaves padding out: what is computed token by token is computed for real tokens alone.

Their number differs from batch to batch, and on a CPU the matrix library prepares a kernel for each size that it meets
and remembers a thousand of them, which takes gigabytes in long trainings. So rows of filler bring it to one of few.
"""

from dataclasses import dataclass
from typing import Any, Optional

import torch
from torch import Tensor
from torch.autograd import Function


@dataclass(frozen=True)
class Packing:
    """Where the real tokens of a padded batch [B, T] stand; N of them with filler, which nothing comes of.

    real  their positions in the flattened batch, ascending; None where nothing is padded, and N = B T
    rows  [N] the same, and position 0 in the filler's place
    """

    batch: int
    length: int
    real: Optional[Tensor]
    rows: Optional[Tensor]

    @classmethod
    def of(cls, mask: Tensor, real: Optional[Tensor], padded: bool) -> "Packing":
        """From a mask [B, T], True = real token.

        Finding the positions in the mask reads it back to the host. Whoever knows them, or knows
        that nothing is padded, spares a training step that wait.
        """
        if padded and real is None:
            real = mask.flatten().nonzero().squeeze(1)
        if not padded:
            return cls(*mask.shape, None, None)
        return cls(*mask.shape, real, torch.cat((real, real.new_zeros(filler(len(real))))))

    def pack(self, x: Tensor) -> Tensor:
        """[B, T, ...] -> [N, ...]"""
        x = x.flatten(0, 1)
        return x if self.rows is None else _Rows.apply(x, self.rows, self.real)

    def unpack(self, x: Tensor) -> Tensor:
        """[N, ...] -> [B, T, ...], zero at padded positions"""
        if self.real is not None:
            everywhere = x.new_zeros(self.batch * self.length, *x.shape[1:])
            x = everywhere.index_copy(0, self.real, x[: len(self.real)])
        return x.unflatten(0, (self.batch, self.length))

    def key_bias(self, mask: Tensor, dtype: torch.dtype) -> Optional[Tensor]:
        """[B, 1, 1, T], what is added to attention scores: the lowest number at padded keys, else 0.

        None where nothing is padded.
        """
        if self.real is None:
            return None
        bias = torch.zeros_like(mask, dtype=dtype).masked_fill_(~mask, torch.finfo(dtype).min)
        return bias[:, None, None, :]


class _Rows(Function):
    """`x[rows]`, whose gradient goes to the real rows alone.

    Each of them is there once, so that it is copied. Of index_select it would be added up, on a GPU by atomic
    operations: slower, and in an order that differs from run to run.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, rows: Tensor, real: Tensor) -> Tensor:
        ctx.save_for_backward(real)
        ctx.count = len(x)
        return x.index_select(0, rows)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (real,) = ctx.saved_tensors
        everywhere = gradient.new_zeros(ctx.count, *gradient.shape[1:])
        return everywhere.index_copy_(0, real, gradient[: len(real)]), None, None


def filler(real: int) -> int:
    """Rows that bring a number of tokens to the next multiple of 16, or of a 64th of it where that is more."""
    step = max(16, 1 << max(0, real.bit_length() - 7))
    return -real % step
