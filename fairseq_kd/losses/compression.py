"""Compressed hidden states (HSK): some tokens of each sentence, some dimensions of each token."""

from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from typing import Any

import torch
from torch import Tensor

from .hidden import hidden_mse
from .precision import at_least_float32

LENGTHS = ("left", "attention", "attention_no_sep")
WIDTHS = ("magnitude", "magnitude_sentence", "uniform", "random")


@dataclass(frozen=True)
class Compression:
    """Specification of the entries to keep of a teacher's hidden states [B, T, H].

    tokens   K tokens of each sentence; None for all
    length   selects real tokens: left, the first K; attention, those that position 0 attends to most (scores,
             mean over heads); attention_no_sep, as attention, without separators
    ranking  the layer, from 1, whose attention ranks the tokens; None for left
    share    rho: int(rho H) dimensions are kept, 1 for all
    width    selects dimensions: magnitude, the largest of each token; magnitude_sentence, the int(rho n H)
             largest among all n kept tokens of a sentence; uniform, round(i / rho) for i = 0, 1, ..;
             random, one fixed draw, see `fixed_dimensions`
    """

    tokens: int | None = None
    length: str | None = None
    ranking: int | None = None
    share: float = 1.0
    width: str | None = None

    def __str__(self) -> str:
        """Return a short, unique name, such as 10t.attention.12_0.1h.magnitude."""
        ranking = "" if self.ranking is None else f".{self.ranking}"
        length = "" if self.tokens is None else f"{self.tokens}t.{self.length}{ranking}"
        width = "" if self.share == 1 else f"{self.share!r}h.{self.width}"
        return "_".join(filter(None, (length, width))) or "all"

    def entries(self, tokens: int, width: int) -> int:
        """Return how many values are kept of `tokens` tokens of `width` dimensions."""
        return int(self.share * (tokens * width)) if self.by_sentence else tokens * int(self.share * width)

    @property
    def by_sentence(self) -> bool:
        """Whether dimensions are selected among all kept tokens of a sentence."""
        return self.width == "magnitude_sentence"

    @property
    def by_token(self) -> bool:
        """Whether each token has its own dimensions."""
        return self.width == "magnitude"


@dataclass(frozen=True)
class Compressed:
    """Compressed hidden states of a batch: E of the K H entries that K tokens of H dimensions have.

    values     [B, E]  kept values; 0 where `kept` is False
    real       [B, K]  False where a sentence has fewer than K tokens
    positions  [B, K]  positions of the tokens in the sentence; None: K = T, all positions in order
    index      [B, E]  index of each value among the K H entries; None: all of them
    kept       [B, E]  False where a sentence has fewer than E values; None if index is None
    """

    values: Tensor
    real: Tensor
    positions: Tensor | None = None
    index: Tensor | None = None
    kept: Tensor | None = None

    def tokens_of(self, s: Tensor) -> Tensor:
        """Select the kept tokens from other states: [B, T, H] -> [B, K, H]."""
        if self.positions is None:
            return s
        return s.gather(1, self.positions[:, :, None].expand(-1, -1, s.size(-1)))

    def to(self, *args: Any, **kwargs: Any) -> "Compressed":
        """Return a copy with `Tensor.to(*args, **kwargs)` applied to each tensor."""
        return Compressed(
            *(None if each is None else each.to(*args, **kwargs) for each in vars(self).values())
        )


def compress(
    t: Tensor,
    mask: Tensor,
    how: Compression,
    scores: Tensor | None = None,
    separators: Tensor | None = None,
) -> Compressed:
    """Keep only the entries of `t` that `how` specifies.

    t           [B, T, H]     a teacher's hidden state
    mask        [B, T]        True = real token
    scores      [B, A, T, T]  attention scores of layer `how.ranking`, for attention and attention_no_sep
    separators  [B, T]        True = separator, for attention_no_sep

    Paper: Liu et al., Marginal Utility Diminishes, ACL 2021.
    Differs from their code: sentences with fewer than K tokens keep no padding. Magnitudes are compared within a
    token or a sentence, not across the batch. So the entries of a sentence do not depend on other sentences.
    """
    positions, real = None, mask
    if how.tokens is not None:
        positions, real = _tokens(mask, how, scores, separators)
        t = t.gather(1, positions[:, :, None].expand(-1, -1, t.size(-1)))
    t = t.masked_fill(~real[:, :, None], 0.0)
    if how.share == 1:
        return Compressed(t.flatten(1), real, positions)

    if how.by_sentence:
        magnitudes = t.abs().masked_fill(~real[:, :, None], -1.0).flatten(1)
        index = magnitudes.topk(how.entries(t.size(1), t.size(2)), dim=1).indices
    else:
        index = entries_of(kept_dimensions(t, how), t.size(2))
    kept = kept_entries(how, real, t.size(2))
    return Compressed(t.flatten(1).gather(1, index).masked_fill(~kept, 0.0), real, positions, index, kept)


def compressed_mse(s: Tensor, t: Compressed, teacher_alone: bool = False) -> Tensor:
    """Return the mean squared difference over a sentence's kept entries.

        L_b = 1/E_b sum over kept entries e of (s_be - t_be)^2

    s              [B, K, H], the student's states of the same tokens (`tokens_of`)
    t              the teacher's compressed states, of width H
    teacher_alone  masks the teacher's side only, as the authors' code: 1/(n_b H) sum over kept tokens and all
                   dimensions; the student's other dimensions learn 0
    Returns [B].

    Paper: Liu et al., Marginal Utility Diminishes, ACL 2021.
    """
    if t.index is None:
        return hidden_mse(s, t.values.view_as(s), t.real)

    s = s.masked_fill(~t.real[:, :, None], 0.0)
    if teacher_alone:
        masked = torch.zeros_like(s, dtype=t.values.dtype).flatten(1).scatter_add(1, t.index, t.values)
        return hidden_mse(s, masked.view_as(s), t.real)
    s = s.to(at_least_float32(s, t.values)).flatten(1).gather(1, t.index)
    difference = (s - t.values).masked_fill(~t.kept, 0.0)
    return difference.square().sum(dim=1) / t.kept.sum(dim=1).clamp(min=1)


def kept_dimensions(t: Tensor, how: Compression) -> Tensor:
    """Return the kept dimensions [B, K, D] of each token of t [B, K, H]; not for magnitude_sentence."""
    if how.by_token:
        return t.abs().topk(int(how.share * t.size(-1)), dim=-1).indices
    return fixed_dimensions(how.width, how.share, t.size(-1), t.device).expand(*t.shape[:2], -1)


@cache
def fixed_dimensions(scheme: str, share: float, width: int, device: torch.device) -> Tensor:
    """Return the dimensions [D] that uniform and random keep of every token, D = int(share width), in order.

    Random takes the first D of all dimensions, ordered by the SHA-256 of "1:DIMENSION".
    """
    count = int(share * width)
    if scheme == "uniform":
        return torch.tensor([round(number / share) for number in range(count)], device=device).long()
    # A teacher cache stores the values only, so this draw must never change; torch's generators may.
    drawn = sorted(range(width), key=lambda number: sha256(f"1:{number}".encode()).digest())[:count]
    return torch.tensor(sorted(drawn), device=device).long()


def entries_of(dimensions: Tensor, width: int) -> Tensor:
    """Convert dimensions [B, K, D] of K tokens to indices [B, K D] among the K H entries; H = width."""
    first = torch.arange(dimensions.size(1), device=dimensions.device) * width
    return (dimensions + first[:, None]).flatten(1)


def kept_entries(how: Compression, real: Tensor, width: int) -> Tensor:
    """Return [B, E], True for entries of real tokens. real [B, K]; width H."""
    if not how.by_sentence:
        return real.repeat_interleave(int(how.share * width), dim=1)
    # In float64, so that the products equal those of Python floats in `Compression.entries`.
    counts = (how.share * (real.sum(dim=1) * width).double()).long()
    entries = how.entries(real.size(1), width)
    return torch.arange(entries, device=real.device) < counts[:, None]


def _tokens(
    mask: Tensor, how: Compression, scores: Tensor | None, separators: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Return the positions [B, K] of the kept tokens, and [B, K], True where that token exists."""
    candidates = mask & ~separators if how.length == "attention_no_sep" else mask
    if how.length == "left":
        rank = -torch.arange(mask.size(1), device=mask.device, dtype=torch.float32).expand(mask.shape)
    else:
        rank = scores[:, :, 0].to(at_least_float32(scores)).mean(dim=1)
    rank = rank.masked_fill(~candidates, -torch.inf)
    positions = rank.topk(min(how.tokens, mask.size(1)), dim=1).indices
    return positions, candidates.gather(1, positions)
