"""Where hidden states are compared: at all tokens, or at position 0 alone."""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from ...losses import hidden_mse, token_mse
from ...signals import Wanted

SCOPES = ["cls", "tokens"]


def wanted_of(scope: str, states: Iterable[int]) -> Wanted:
    """What of these states a teacher is asked for."""
    return Wanted.of(states=states) if scope == "tokens" else Wanted.of(first=states)


def within(scope: str, state: Tensor) -> Tensor:
    """What of a state [B, T, H] is compared: all of it, or [B, H]."""
    return state if scope == "tokens" else state[:, 0]


def stacked(scope: str, states: Mapping[int, Tensor], numbers: Iterable[int], mask: Tensor) -> Tensor:
    """These states in one tensor [n, B, T, H], 0 at padded positions; or [n, B, H]."""
    stack = torch.stack([within(scope, states[number]) for number in numbers])
    return stack.masked_fill_(~mask[:, :, None], 0.0) if scope == "tokens" else stack


def mse(scope: str, s: Tensor, t: Tensor, mask: Tensor) -> Tensor:
    """Mean squared difference of each sentence, [B]."""
    return hidden_mse(s, t, mask) if scope == "tokens" else token_mse(s, t)


def mean_of_tokens(scope: str, x: Tensor, mask: Tensor) -> Tensor:
    """Each sentence's mean over its real tokens: of x [B, T, ...], or x [B, ...] as it is."""
    if scope != "tokens":
        return x
    real = mask.view(*mask.shape, *(1,) * (x.dim() - 2))
    return (x * real).sum(dim=1) / mask.sum(dim=1).clamp(min=1).view(-1, *(1,) * (x.dim() - 2))
