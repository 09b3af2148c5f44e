"""Losses on attention scores before the softmax, without the padding mask."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from .precision import at_least_float32


def attention_mse(s: Tensor, t: Tensor, mask: Tensor) -> Tensor:
    """Return the mean squared difference of the attention scores between a sentence's real tokens.

        L_b = 1/(A n_b^2) sum over heads a, real queries i, real keys j of (s_baij - t_baij)^2
        n_b = real tokens of sentence b

    s, t  [B, A, T, T]  scores before softmax, with equal numbers of heads
    mask  [B, T]        True = real token
    Returns [B].

    Paper: Jiao et al., TinyBERT, Findings of EMNLP 2020.
    Differs from the code of Wang et al., ACL 2023: padded queries are excluded, and the mean is over
    real pairs only.
    """
    difference = s.to(at_least_float32(s, t)) - t
    difference = difference.masked_fill_(padded_pairs(mask), 0.0)
    real = mask.sum(dim=1).clamp(min=1)
    return difference.square().sum(dim=(1, 2, 3)) / (real * real * s.size(1))


def attention_kl(s: Tensor, t: Tensor, mask: Tensor, *, clamp: float | None = None) -> Tensor:
    """Return the KL divergence from the teacher's attention probabilities to the student's.

        L_b = 1/(A n_b) sum over heads a, real queries i of KL( p_t[b,a,i] || p_s[b,a,i] )
        p   = softmax of the scores over the real keys of sentence b;  n_b = its real tokens

    s, t   [B, A, T, T]  scores before softmax, with equal numbers of heads
    mask   [B, T]        True = real token
    clamp                lower bound of the student's probabilities; None = exact
    Returns [B].

    Paper: Sun et al., MobileBERT, ACL 2020.
    Differs from the code of Wang et al., ACL 2023: padding is excluded, and nothing is clamped.
    Their code has clamp=1e-7, which removes the gradient where the student is furthest from the teacher.
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
    """Return [B, 1, T, T], True where the query or the key is padding. mask [B, T], True = real token."""
    return ~(mask[:, None, :, None] & mask[:, None, None, :])


def lowest(scores: Tensor) -> float:
    """Return a score whose softmax probability is 0: half the smallest number of the dtype.

    It is finite, because 0 * log 0 must stay 0 in the KL.

    scores  any shape, such as [B, A, T, T]; only the dtype is used
    """
    return torch.finfo(scores.dtype).min / 2
