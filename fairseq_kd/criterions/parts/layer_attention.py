"""The part in which each student layer attends to teacher layers."""

from torch import Tensor

from ...losses import LayerAttention, Widen
from ...signals import Signals, Wanted
from .part import Part
from .scope import mean_of_tokens, mse, stacked, wanted_of, within


class AttendedLayers(Part):
    """Hidden states, against what each of the student's attends to among the teacher's.

    scope   cls or tokens, see `scope.py`
    reach   which teacher layers a student layer attends to, see LayerAttention
    detach  no gradient through the attention
    """

    def __init__(self, task, method: str, scope: str, reach: str, detach: bool) -> None:
        super().__init__(task, method)
        self.scope = scope
        if self.problems:
            return

        try:
            self.attention = LayerAttention(self.student.layers, self.teacher.layers, reach, detach)
        except ValueError as error:
            self.problems.append(f"--alp-{error}: take another --alp-reach, or a shallower student.")
            return
        self.widen = Widen(self.student.width, self.teacher.width)
        self.student_wanted = Wanted.of(states=self.attention.reached)
        self.teacher_wanted = wanted_of(scope, range(1, self.teacher.layers + 1))

    def forward(self, student: Signals, teacher: Signals) -> tuple[Tensor, dict[int, Tensor]]:
        """The loss, mean over student layers [B]; and, in validation, how much each of them attends, {layer: [B, l]}."""
        mask = student.mask
        states = stacked(self.scope, teacher.states, range(1, self.teacher.layers + 1), mask)
        loss, attends = 0.0, {}
        for layer in self.attention.reached:
            s = self.widen(
                within(self.scope, student.states[layer]), mask if self.scope == "tokens" else None
            )
            weights = self.attention.weights(s, states, layer)
            loss = loss + mse(self.scope, s, self.attention.mix(weights, states, layer), mask)
            if not self.training:
                attends[layer] = mean_of_tokens(self.scope, weights.detach(), mask)
        return loss / self.student.layers, attends

    def map_row(self) -> str:
        reached = self.attention.reached.items()
        return "  ".join(f"{layer} <- {layers.start}..{layers.stop - 1}" for layer, layers in reached)
