"""Transfer of teacher layers that each student layer attends to (ALP-KD)."""

from torch import Tensor

from ...context import DistillationContext
from ...losses import LayerAttention, Widen
from ...signals import Signals, Wanted
from .base import Transfer
from .token_scope import mean_over_tokens, mse, select_tokens, stack_states, teacher_signals


class AttendedLayers(Transfer):
    """Transfer of hidden states; targets are attention-weighted sums of teacher layers.

    scope   cls or tokens, see `token_scope.py`
    reach   teacher layers that a student layer attends to, see LayerAttention
    detach  no gradient through the attention weights
    """

    def __init__(
        self, context: DistillationContext, method: str, scope: str, reach: str, detach: bool
    ) -> None:
        super().__init__(context, method)
        self.scope = scope
        if self.errors:
            return

        try:
            self.attention = LayerAttention(self.student.layers, self.teacher.layers, reach, detach)
        except ValueError as error:
            self.errors.append(f"--alp-{error}: use another --alp-reach, or a student with fewer layers.")
            return
        self.widen = Widen(self.student.width, self.teacher.width)
        self.student_wanted = Wanted.of(states=self.attention.reached)
        self.teacher_wanted = teacher_signals(scope, range(1, self.teacher.layers + 1))

    def forward(self, student: Signals, teacher: Signals) -> tuple[Tensor, dict[int, Tensor]]:
        """Return the loss, mean over student layers [B], and, in validation, attention weights {layer: [B, l]}."""
        mask = student.mask
        states = stack_states(self.scope, teacher.states, range(1, self.teacher.layers + 1), mask)
        loss, attends = 0.0, {}
        for layer in self.attention.reached:
            s = self.widen(
                select_tokens(self.scope, student.states[layer]), mask if self.scope == "tokens" else None
            )
            weights = self.attention.weights(s, states, layer)
            loss = loss + mse(self.scope, s, self.attention.mix(weights, states, layer), mask)
            if not self.training:
                attends[layer] = mean_over_tokens(self.scope, weights.detach(), mask)
        return loss / self.student.layers, attends

    def describe_pairs(self) -> str:
        """Describe in one line which teacher layers each student layer attends to."""
        reached = self.attention.reached.items()
        return "  ".join(f"{layer} <- {layers.start}..{layers.stop - 1}" for layer, layers in reached)
