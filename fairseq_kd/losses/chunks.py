"""Computes losses over a vocabulary in chunks, so that the logits of all tokens are never in memory at once."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint


def in_chunks(terms: Callable[..., Tensor], rows: Sequence[Tensor], size: int) -> Tensor:
    """Return terms(*rows), computed `size` rows at a time and recomputed for the gradient.

    Intermediate tensors of a chunk, such as the logits [size, V] of both models, are freed before the
    next chunk. Forward and backward hold those of at most one chunk.

    terms  maps tensors [size, ...] to [..., size]; must not use random numbers
    rows   tensors [N, ...]
    size   rows of a chunk; the last chunk may have fewer
    Returns [..., N].
    """
    count = len(rows[0])
    if count <= size:
        return terms(*rows)

    def chunk(begin: int) -> Tensor:
        part = [row[begin : begin + size] for row in rows]
        if not torch.is_grad_enabled():
            return terms(*part)
        return checkpoint(terms, *part, use_reentrant=False, preserve_rng_state=False)

    return torch.cat([chunk(begin) for begin in range(0, count, size)], dim=-1)
