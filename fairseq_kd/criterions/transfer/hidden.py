"""Transfer of hidden states."""

from collections.abc import Callable, Mapping

from torch import Tensor

from ...context import DistillationContext
from ...losses import Combine, Widen
from ...signals import Signals, Wanted
from .base import Transfer
from .token_scope import teacher_signals

# Mappings with a learned mixture of states -> the lowest state: 0 is the embedding output.
MIXTURES = {"combine": 0, "combine-layers": 1}


class HiddenTransfer(Transfer):
    """Transfer of hidden states, paired one by one or all at once through a learned mixture (`MIXTURES`).

    If the widths differ, a learned projection maps the student's paired states to the teacher's width.

    scope  cls or tokens, see `token_scope.py`
    """

    def __init__(
        self, context: DistillationContext, method: str, mapping: str, scope: str = "tokens"
    ) -> None:
        super().__init__(context, method)
        self.mixture = self.widen = None
        lowest = MIXTURES.get(mapping)
        if lowest is None:
            self.pair_states(mapping)
        if self.errors:
            return

        if lowest is None:
            student_states, teacher_states = zip(*self.pairs, strict=True)
            self.widen = Widen(self.student.width, self.teacher.width)
        else:
            student_states, teacher_states = (
                tuple(range(lowest, side.layers + 1)) for side in (self.student, self.teacher)
            )
            self.mixture = Combine(
                len(student_states), self.student.width, len(teacher_states), self.teacher.width
            )
        self.student_wanted = Wanted.of(states=student_states)
        self.teacher_wanted = teacher_signals(scope, teacher_states)

    def all_tokens(self, student: Signals, teacher: Signals, loss: Callable[..., Tensor]) -> Tensor:
        """Return the sum over the pairs of loss(student state, teacher state, mask), [B]."""
        mask = student.mask
        if self.mixture is not None:
            return loss(*self.mixture(_ordered(student.states), _ordered(teacher.states), mask), mask)
        return sum(loss(self.widen(student.states[i], mask), teacher.states[j], mask) for i, j in self.pairs)

    def first_token(self, student: Signals, teacher: Signals, loss: Callable[..., Tensor]) -> Tensor:
        """Return the sum over the pairs of loss(student state, teacher state) at position 0, [B]."""
        if self.mixture is not None:
            return loss(*self.mixture(first_tokens(student.states), first_tokens(teacher.states)))
        return sum(loss(self.widen(student.states[i][:, 0]), teacher.states[j][:, 0]) for i, j in self.pairs)

    def describe_pairs(self) -> str:
        """Describe the pairs or the mixture in one line."""
        if self.mixture is None:
            return super().describe_pairs()
        lowest = min(self.student_wanted.states)
        return f"{lowest}..{self.student.layers} <- a learned mixture of {lowest}..{self.teacher.layers}"


def first_tokens(states: Mapping[int, Tensor]) -> list[Tensor]:
    """Return position 0 of each state, from the lowest up, [B, H] each."""
    return [state[:, 0] for state in _ordered(states)]


def _ordered(states: Mapping[int, Tensor]) -> list[Tensor]:
    return [states[number] for number in sorted(states)]
