"""Losses over a vocabulary without ever holding the logits of all tokens."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint


def in_chunks(terms: Callable[..., Tensor], rows: Sequence[Tensor], size: int) -> Tensor:
    """terms(*rows), computed `size` rows at a time and, for the gradient, each chunk once more.

    What `terms` makes of a chunk in between, such as the logits [size, V] of both models, is freed
    before the next one: at most one chunk's worth is held, forward and backward, instead of N rows'.

    terms  maps chunks of the rows to [..., chunk], one number (or several) a row; no randomness
    rows   tensors of N rows each
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
