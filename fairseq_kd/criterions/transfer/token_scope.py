"""The tokens that are compared: all tokens (scope tokens) or position 0 only (scope cls)."""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from ...losses import hidden_mse, token_mse
from ...signals import Wanted

SCOPES = ["cls", "tokens"]


def teacher_signals(scope: str, states: Iterable[int]) -> Wanted:
    """Return the request to the teacher for these states."""
    return Wanted.of(states=states) if scope == "tokens" else Wanted.of(first=states)


def select_tokens(scope: str, state: Tensor) -> Tensor:
    """Return the compared tokens of a state [B, T, H]: all of it, or [B, H]."""
    return state if scope == "tokens" else state[:, 0]


def stack_states(scope: str, states: Mapping[int, Tensor], numbers: Iterable[int], mask: Tensor) -> Tensor:
    """Stack n states: [n, B, T, H], 0 at padded positions, or [n, B, H]."""
    stack = torch.stack([select_tokens(scope, states[number]) for number in numbers])
    return stack.masked_fill_(~mask[:, :, None], 0.0) if scope == "tokens" else stack


def mse(scope: str, s: Tensor, t: Tensor, mask: Tensor) -> Tensor:
    """Return the mean squared difference of each sentence, [B]. s, t [B, T, H] or [B, H]."""
    return hidden_mse(s, t, mask) if scope == "tokens" else token_mse(s, t)


def mean_over_tokens(scope: str, x: Tensor, mask: Tensor) -> Tensor:
    """Return each sentence's mean of x [B, T, ...] over its real tokens; for cls, x [B, ...] unchanged."""
    if scope != "tokens":
        return x
    real = mask.view(*mask.shape, *(1,) * (x.dim() - 2))
    return (x * real).sum(dim=1) / mask.sum(dim=1).clamp(min=1).view(-1, *(1,) * (x.dim() - 2))
