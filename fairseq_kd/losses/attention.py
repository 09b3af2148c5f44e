"""Losses on attention scores, as they are before the softmax and without the padding mask."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from .precision import at_least_float32


def attention_mse(s: Tensor, t: Tensor, mask: Tensor) -> Tensor:
    """Mean squared difference of the attention scores between a sentence's real tokens.

        L_b = 1/(A n_b^2) sum over heads a, real queries i, real keys j of (s_baij - t_baij)^2
        n_b = real tokens of sentence b

    s, t  [B, A, T, T]  scores before softmax; as many heads on both sides
    mask  [B, T]        True = real token
    Returns [B].

    Paper: Jiao et al., TinyBERT, Findings of EMNLP 2020.
    Differs from the code of Wang et al., ACL 2023: padded queries do not count, and a padded batch
    is averaged over its real pairs only.
    """
    difference = s.to(at_least_float32(s, t)) - t
    difference = difference.masked_fill_(padded_pairs(mask), 0.0)
    real = mask.sum(dim=1).clamp(min=1)
    return difference.square().sum(dim=(1, 2, 3)) / (real * real * s.size(1))


def attention_kl(s: Tensor, t: Tensor, mask: Tensor, *, clamp: float | None = None) -> Tensor:
    """How far the student's attention is from the teacher's.

        L_b = 1/(A n_b) sum over heads a, real queries i of KL( p_t[b,a,i] || p_s[b,a,i] )
        p   = softmax of the scores over the real keys of sentence b;  n_b = its real tokens

    s, t   [B, A, T, T]  scores before softmax; as many heads on both sides
    mask   [B, T]        True = real token
    clamp  smallest probability the student is credited with, None = exact
    Returns [B].

    Paper: Sun et al., MobileBERT, ACL 2020.
    Differs from the code of Wang et al., ACL 2023: padding does not count, and nothing is clamped.
    Their value is clamp=1e-7, which leaves no gradient where the student is furthest off.
    """
    padded = padded_pairs(mask)
    dtype = at_least_float32(s, t)

    # A padded query gets the same row on both sides, so its KL and its gradient are exactly 0.
    log_p_s = F.log_softmax(s.masked_fill(padded, lowest(s)), dim=-1, dtype=dtype)
    log_p_t = F.log_softmax(t.masked_fill(padded, lowest(t)), dim=-1, dtype=dtype)
    if clamp is not None:
        log_p_s = log_p_s.clamp(min=math.log(clamp))

    kl = F.kl_div(log_p_s, log_p_t, reduction="none", log_target=True)  # [B, A, T, T]
    real = mask.sum(dim=1).clamp(min=1)
    return kl.sum(dim=(1, 2, 3)) / (real * s.size(1))


def padded_pairs(mask: Tensor) -> Tensor:
    """[B, 1, T, T], True where the query or the key is padding."""
    return ~(mask[:, None, :, None] & mask[:, None, None, :])


def lowest(scores: Tensor) -> float:
    """A score whose probability is 0; finite, because 0 * log 0 must stay 0 in the KL."""
    return torch.finfo(scores.dtype).min / 2
