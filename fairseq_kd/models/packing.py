"""Leaves padding out: what is computed token by token is computed for real tokens alone."""

from dataclasses import dataclass
from typing import Optional

import torch
from torch import Tensor


@dataclass(frozen=True)
class Packing:
    """Where the N real tokens of a padded batch [B, T] stand.

    real  [N] their positions in the flattened batch, ascending; None where nothing is padded, and
          N = B T
    """

    batch: int
    length: int
    real: Optional[Tensor]

    @classmethod
    def of(cls, mask: Tensor, real: Optional[Tensor], padded: bool) -> "Packing":
        """From a mask [B, T], True = real token.

        Finding the positions in the mask reads it back to the host. Whoever knows them, or knows
        that nothing is padded, spares a training step that wait.
        """
        if padded and real is None:
            real = mask.flatten().nonzero().squeeze(1)
        return cls(*mask.shape, real if padded else None)

    def pack(self, x: Tensor) -> Tensor:
        """[B, T, ...] -> [N, ...]"""
        x = x.flatten(0, 1)
        return x if self.real is None else x.index_select(0, self.real)

    def unpack(self, x: Tensor) -> Tensor:
        """[N, ...] -> [B, T, ...], zero at padded positions"""
        if self.real is not None:
            everywhere = x.new_zeros(self.batch * self.length, *x.shape[1:])
            x = everywhere.index_copy(0, self.real, x)
        return x.unflatten(0, (self.batch, self.length))

    def key_bias(self, mask: Tensor, dtype: torch.dtype) -> Optional[Tensor]:
        """[B, 1, 1, T], what is added to attention scores: the lowest number at padded keys, else 0.

        None where nothing is padded.
        """
        if self.real is None:
            return None
        bias = torch.zeros_like(mask, dtype=dtype).masked_fill_(~mask, torch.finfo(dtype).min)
        return bias[:, None, None, :]
