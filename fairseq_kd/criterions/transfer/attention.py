"""Transfer of attention scores, and the base class for signals computed inside layers."""

from collections.abc import Callable

from torch import Tensor

from ...context import DistillationContext
from ...losses import Factors
from ...signals import Signals, Wanted
from .base import Transfer


class LayerTransfer(Transfer):
    """Transfer of signals computed inside layers. The embedding pair 0:0 is omitted, since it has none."""

    def __init__(self, context: DistillationContext, method: str, mapping: str) -> None:
        super().__init__(context, method)
        self.pair_layers(mapping, "attention")


class AttentionTransfer(LayerTransfer):
    """Transfer of attention scores, head by head."""

    def __init__(self, context: DistillationContext, method: str, mapping: str) -> None:
        super().__init__(context, method, mapping)
        if self.errors:
            return

        self._check_heads()
        self.student_wanted = Wanted.of(attention=[i for i, _ in self.pairs])
        self.teacher_wanted = Wanted.of(attention=[j for _, j in self.pairs])

    def _check_heads(self) -> None:
        if self.student.heads != self.teacher.heads:
            self.errors.append(
                f"--criterion {self.method} compares attention head by head, but the student has "
                f"{self.student.heads} heads and the teacher {self.teacher.heads}: use a student with "
                f"--encoder-attention-heads {self.teacher.heads}, or --criterion minilm_v2 with --relation-heads."
            )

    def scores(self, student: Signals, teacher: Signals, loss: Callable[..., Tensor]) -> Tensor:
        """Return the sum over the pairs of loss(student scores, teacher scores, mask), [B]."""
        return sum(loss(student.attention[i], teacher.attention[j], student.mask) for i, j in self.pairs)

    def score_factors(self, student: Signals, teacher: Signals, loss: Callable[..., Tensor]) -> Tensor:
        """Return the same as `scores`, for a loss that takes `Factors` of the models that computed them."""
        pairs = ((_factors(student, i), _factors(teacher, j)) for i, j in self.pairs)
        return sum(loss(mine, theirs, student.mask) for mine, theirs in pairs)


def _factors(signals: Signals, layer: int) -> Factors | Tensor:
    factors = signals.attention_factors.get(layer)
    return signals.attention[layer] if factors is None else Factors(*factors)
