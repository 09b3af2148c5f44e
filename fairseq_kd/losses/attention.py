"""Losses on attention scores before the softmax, without the padding mask.

Scores are whole tensors, or products of queries and keys (`Factors`). Those of `Factors` are computed in blocks, unless a
gradient of the teacher's is needed.
"""

import math
from functools import partial

import torch.nn.functional as F
from torch import Tensor

from .precision import at_least_float32, lowest
from .score_blocks import Factors, kl_rule, loss_in_blocks, mse_rule


def attention_mse(s: Tensor | Factors, t: Tensor | Factors, mask: Tensor) -> Tensor:
    """Return the mean squared difference of the attention scores between a sentence's real tokens.

        L_b = 1/(A n_b^2) sum over heads a, real queries i, real keys j of (s_baij - t_baij)^2
        n_b = real tokens of sentence b

    s, t  [B, A, T, T]  scores before softmax, with equal numbers of heads, or `Factors`
    mask  [B, T]        True = real token
    Returns [B].

    Paper: Jiao et al., TinyBERT, Findings of EMNLP 2020.
    Differs from the code of Wang et al., ACL 2023: padded queries are excluded, and the mean is over
    real pairs only.
    """
    real = mask.sum(dim=1).clamp(min=1)
    if _fits_blocks(s, t):
        return loss_in_blocks(s, t, mask, mse_rule, real * real * s.queries.size(1))

    s, t = _whole(s, mask), _whole(t, mask)
    difference = s.to(at_least_float32(s, t)) - t
    difference = difference.masked_fill_(padded_pairs(mask), 0.0)
    return difference.square().sum(dim=(1, 2, 3)) / (real * real * s.size(1))


def attention_kl(
    s: Tensor | Factors, t: Tensor | Factors, mask: Tensor, *, clamp: float | None = None
) -> Tensor:
    """Return the KL divergence from the teacher's attention probabilities to the student's.

        L_b = 1/(A n_b) sum over heads a, real queries i of KL( p_t[b,a,i] || p_s[b,a,i] )
        p   = softmax of the scores over the real keys of sentence b;  n_b = its real tokens

    s, t   [B, A, T, T]  scores before softmax, with equal numbers of heads, or `Factors`
    mask   [B, T]        True = real token
    clamp                lower bound of the student's probabilities; None = exact
    Returns [B].

    Paper: Sun et al., MobileBERT, ACL 2020.
    Differs from the code of Wang et al., ACL 2023: padding is excluded, and nothing is clamped.
    Their code has clamp=1e-7, which removes the gradient where the student is furthest from the teacher.
    """
    real = mask.sum(dim=1).clamp(min=1)
    if _fits_blocks(s, t):
        return loss_in_blocks(s, t, mask, partial(kl_rule, clamp=clamp), real * s.queries.size(1))

    s, t = _whole(s, mask), _whole(t, mask)
    padded = padded_pairs(mask)
    dtype = at_least_float32(s, t)

    # A padded query gets the same row on both sides, so its KL and its gradient are exactly 0.
    log_p_s = F.log_softmax(s.masked_fill(padded, lowest(s)), dim=-1, dtype=dtype)
    log_p_t = F.log_softmax(t.masked_fill(padded, lowest(t)), dim=-1, dtype=dtype)
    if clamp is not None:
        log_p_s = log_p_s.clamp(min=math.log(clamp))

    kl = F.kl_div(log_p_s, log_p_t, reduction="none", log_target=True)  # [B, A, T, T]
    return kl.sum(dim=(1, 2, 3)) / (real * s.size(1))


def padded_pairs(mask: Tensor) -> Tensor:
    """Return [B, 1, T, T], True where the query or the key is padding. mask [B, T], True = real token."""
    return ~(mask[:, None, :, None] & mask[:, None, None, :])


def _fits_blocks(s: Tensor | Factors, t: Tensor | Factors) -> bool:
    """Return whether the loss can be computed in blocks, which gives no gradient of the teacher's scores."""
    teacher = (t.queries, t.keys) if isinstance(t, Factors) else (t,)
    return isinstance(s, Factors) and not any(tensor.requires_grad for tensor in teacher)


def _whole(scores: Tensor | Factors, mask: Tensor) -> Tensor:
    return scores.whole(mask) if isinstance(scores, Factors) else scores
