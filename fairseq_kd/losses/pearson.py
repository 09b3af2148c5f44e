"""Loss on the correlation between the student's and the teacher's attention."""

import torch
import torch.nn.functional as F
from torch import Tensor

from .attention import padded_pairs
from .precision import at_least_float32, lowest

# Added to the product of two norms, so that constant attention has correlation 0.
EPS = 1e-8


def pearson_attention(s: Tensor, t: Tensor, mask: Tensor) -> Tensor:
    """Return 4 minus the correlations of the student's and the teacher's attention along four axes.

        L_b = sum over four axes of 1 - mean r(p_s, p_t)
        p   = softmax of the scores over the real keys;  r = Pearson correlation along
              keys     one per head and real query of the sentence
              queries  one per head and real key
              heads    one per real pair of query and key
              batch    one per head and pair of positions, over the sentences that have both

    s, t  [B, A, T, T]  scores before softmax, with equal numbers of heads
    mask  [B, T]        True = real token
    Returns [B].

    The batch term is one number shared by all sentences of the batch. So, unlike other losses, this
    one depends on the other sentences of a batch.

    Paper: Wang et al., How to Distill your BERT, ACL 2023 (released code).
    Differs from their code: padding is excluded.
    """
    dtype = at_least_float32(s, t)
    padded = padded_pairs(mask)
    p_s = F.softmax(s.masked_fill(padded, lowest(s)), dim=-1, dtype=dtype)
    p_t = F.softmax(t.masked_fill(padded, lowest(t)), dim=-1, dtype=dtype)

    pairs = (~padded).to(dtype).expand_as(p_s)  # [B, A, T, T]
    tokens = mask[:, None, :].to(dtype).expand(-1, s.size(1), -1)  # [B, A, T]

    along_keys = _mean(_pearson(p_s, p_t, pairs, dim=3), tokens, (1, 2))
    along_queries = _mean(_pearson(p_s, p_t, pairs, dim=2), tokens, (1, 2))
    along_heads = _mean(_pearson(p_s, p_t, pairs, dim=1), pairs[:, 0], (1, 2))
    along_batch = _mean(_pearson(p_s, p_t, pairs, dim=0), pairs.amax(dim=0), (0, 1, 2))
    return 4 - along_keys - along_queries - along_heads - along_batch


def _pearson(x: Tensor, y: Tensor, real: Tensor, dim: int) -> Tensor:
    """Return the correlation along `dim` over the entries where `real` is 1; the result has no axis `dim`."""
    x, y = _centred(x, real, dim), _centred(y, real, dim)
    # vector_norm has a finite gradient at 0; the root of a sum of squares does not.
    lengths = torch.linalg.vector_norm(x, dim=dim) * torch.linalg.vector_norm(y, dim=dim)
    return (x * y).sum(dim=dim) / (lengths + EPS)


def _centred(x: Tensor, real: Tensor, dim: int) -> Tensor:
    mean = (x * real).sum(dim=dim, keepdim=True) / real.sum(dim=dim, keepdim=True).clamp(min=1)
    return (x - mean) * real


def _mean(x: Tensor, real: Tensor, dim: tuple[int, ...]) -> Tensor:
    return (x * real).sum(dim=dim) / real.sum(dim=dim).clamp(min=1)
