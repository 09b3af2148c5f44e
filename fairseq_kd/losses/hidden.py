"""Losses on hidden states, of all tokens or of one position."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .precision import at_least_float32


def hidden_mse(s: Tensor, t: Tensor, mask: Tensor) -> Tensor:
    """Return the mean squared difference of the hidden states of a sentence's real tokens.

        L_b = 1/(n_b H) sum over real tokens i, dimensions h of (s_bih - t_bih)^2
        n_b = real tokens of sentence b

    s, t  [B, T, H]  hidden states of equal width
    mask  [B, T]     True = real token
    Returns [B].

    Paper: Jiao et al., TinyBERT, Findings of EMNLP 2020.
    Differs from the code of Wang et al., ACL 2023: padding is excluded.
    """
    difference = s.to(at_least_float32(s, t)) - t
    # Before the square: at padded positions, a gradient of 0 times NaN would be NaN.
    difference = difference.masked_fill_(~mask[:, :, None], 0.0)
    real = mask.sum(dim=1).clamp(min=1)
    return difference.square().sum(dim=(1, 2)) / (real * s.size(-1))


def token_mse(s: Tensor, t: Tensor) -> Tensor:
    """Return the mean squared difference of one vector per sentence, usually the state at position 0.

        L_b = 1/H sum over dimensions h of (s_bh - t_bh)^2

    s, t  [B, H]
    Returns [B].

    Paper: Wang et al., How to Distill your BERT, ACL 2023.
    """
    return (s.to(at_least_float32(s, t)) - t).square().mean(dim=-1)


def patience(s: Tensor, t: Tensor, normalize: bool = True) -> Tensor:
    """Return the patience term of one layer: token_mse of the two vectors, each scaled to length 1.

        L_b = 1/H | s_b / |s_b| - t_b / |t_b| |^2

    s, t       [B, H]  states at position 0
    normalize  False compares the vectors unscaled
    Returns [B].

    Paper: Sun et al., Patient Knowledge Distillation, EMNLP 2019.
    """
    if normalize:
        dtype = at_least_float32(s, t)
        s = F.normalize(s.to(dtype), dim=-1)
        t = F.normalize(t.to(dtype), dim=-1)
    return token_mse(s, t)


class Widen(nn.Module):
    """Projects a student's hidden states to the teacher's width: a learned W h_s + b, or h_s if widths are equal.

    All layers share one projection. It is on the student's side. On the teacher's side, it could map all
    states to one vector, which lowers the loss although the student learns nothing.

    Paper: Jiao et al., TinyBERT, Findings of EMNLP 2020.
    """

    def __init__(self, student_width: int, teacher_width: int):
        super().__init__()
        self.linear = nn.Linear(student_width, teacher_width) if student_width != teacher_width else None

    def forward(self, s: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return s projected to the teacher's width: [B, T, H_t] or [B, H_t].

        s     [B, T, H_s] or [B, H_s]
        mask  [B, T] if s is [B, T, H_s], True = real token
        """
        if self.linear is None:
            return s
        if mask is not None:
            # Values at padded positions would otherwise reach W's gradient.
            s = s.masked_fill(~mask[:, :, None], 0.0)
        return self.linear(s.to(self.linear.weight.dtype))


class Combine(nn.Module):
    """Mapping "combine": all student states, concatenated, learn a projection of all teacher states.

        s = [h_s^0; ..; h_s^m]    t = W [h_t^0; ..; h_t^n] + b

    The loss between s and t is hidden_mse, or token_mse for the states of one position.

    Paper: Wang et al., How to Distill your BERT, ACL 2023.
    Differs from their code: W fits the sizes of the two models instead of 9984 -> 3072. It belongs to
    a module, so it is trained and saved.
    """

    def __init__(self, student_states: int, student_width: int, teacher_states: int, teacher_width: int):
        """Create W. Each side has a number of states (embedding output included, if used) and their width."""
        super().__init__()
        self.projection = nn.Linear(teacher_states * teacher_width, student_states * student_width)

    def forward(
        self, student: Sequence[Tensor], teacher: Sequence[Tensor], mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return the concatenated student states and the projected teacher states.

        student, teacher  states, each [B, T, H] or [B, H]
        mask              [B, T] for states of all tokens, True = real token; None for one position
        Returns two tensors [B, T, states * H] or [B, states * H], with the student's states and H.
        """
        joined = torch.cat(list(teacher), dim=-1)
        if mask is not None:
            # In place, since `joined` is a copy. Values at padded positions would otherwise reach W's gradient.
            joined = joined.masked_fill_(~mask[:, :, None], 0.0)
        return torch.cat(list(student), dim=-1), self.projection(joined.to(self.projection.weight.dtype))
