"""Dropout that needs a quarter of the random numbers on a CPU."""

from collections.abc import Sequence
from typing import Optional

import torch
from torch import Tensor, nn
from torch.nn import functional as F

LEVELS = 1 << 16  # of 16 random bits


class Dropout(nn.Dropout):
    """torch's dropout; on a CPU, one 64-bit random number decides on four values."""

    def forward(self, x: Tensor) -> Tensor:
        if x.device.type != "cpu" or not (self.training and self.p):
            return F.dropout(x, self.p, self.training)
        return x * keep_mask(x.shape, self.p, x.dtype)


def keep_mask(
    shape: Sequence[int], p: float, dtype: torch.dtype, generator: Optional[torch.Generator] = None
) -> Tensor:
    """Return a random tensor: 0 with probability p, rounded to a multiple of 2^-16, and else 1 / (1 - p).

    generator  None for torch's default generator
    """
    dropped = round(p * LEVELS)
    count = torch.Size(shape).numel()
    random = torch.empty((count + 3) // 4, dtype=torch.int64).random_(-(2**63), None, generator=generator)
    keep = random.view(torch.int16)[:count].view(shape) >= dropped - LEVELS // 2
    return keep.to(dtype).mul_(LEVELS / (LEVELS - dropped))
