"""Losses on relations between tokens: scaled products of queries, keys or values with themselves."""

from torch import Tensor

from .attention import attention_kl
from .score_blocks import Factors


def relation_kl(s: Tensor, t: Tensor, mask: Tensor) -> Tensor:
    """Return the KL divergence from the teacher's token relations to the student's.

        L_b  = 1/(R n_b) sum over relation heads r, real tokens i of KL( q_t[b,r,i] || q_s[b,r,i] )
        q[i] = softmax over real tokens j of <x_i, x_j> / sqrt(width of x);  n_b = real tokens

    s, t  [B, R, T, d], [B, R, T, d']  queries, keys or values, with equal numbers of heads
    mask  [B, T]                       True = real token
    Returns [B].

    Papers: Wang et al., MiniLM, NeurIPS 2020 (values); MiniLMv2, Findings of ACL 2021 (all three).
    Differs from the code of Wang et al., ACL 2023: padding is excluded, and nothing is clamped.
    """
    return attention_kl(Factors(s, s), Factors(t, t), mask)


def relation_heads(x: Tensor, heads: int) -> Tensor:
    """Split the width of a layer's queries, keys or values into another number of heads.

    The attention heads are first joined to the full width H = A d. Relation head r then holds the
    dimensions r H/R .. (r+1) H/R - 1, for any number of attention heads.

    x  [B, A, T, d]
    Returns [B, R, T, H / R], R = heads.
    """
    batch, _, tokens, _ = x.shape
    return x.transpose(1, 2).reshape(batch, tokens, heads, -1).transpose(1, 2)
