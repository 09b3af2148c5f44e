"""Base class of transfer modules."""

from torch import nn

from ...context import DistillationContext, teacher_missing
from ...layers import layer_map
from ...signals import Wanted


class Transfer(nn.Module):
    """Compares one kind of signal of student and teacher.

    pairs           [(student state, teacher state)]; empty if states are not paired
    student_wanted  required signals of the student
    teacher_wanted  required signals of the teacher
    errors          error messages; empty if the two models can be compared

    method  name of the criterion, for error messages
    """

    def __init__(self, context: DistillationContext, method: str) -> None:
        super().__init__()
        self.method = method
        self.student, self.teacher = context.student_shape, context.teacher_shape
        self.pairs: list[tuple[int, int]] = []
        self.student_wanted = self.teacher_wanted = Wanted()
        self.errors = [] if self.teacher else [teacher_missing(f"--criterion {method}")]

    def pair_states(self, mapping: str) -> None:
        """Set the pairs of `--mapping`, if there is a teacher."""
        if self.teacher is None:
            return
        try:
            self.pairs = layer_map(mapping, self.student.layers, self.teacher.layers)
        except ValueError as error:
            self.errors.append(str(error))

    def pair_layers(self, mapping: str, signal: str) -> None:
        """Set the pairs of layers, without the embedding pair 0:0. signal: its name, for error messages."""
        self.pair_states(mapping)
        self.pairs = [(i, j) for i, j in self.pairs if (i, j) != (0, 0)]
        if self.errors:
            return

        embedding = [f"{i}:{j}" for i, j in self.pairs if 0 in (i, j)]
        if embedding:
            self.errors.append(
                f"--mapping {mapping} pairs {embedding[0]}, but state 0 is the embedding output and has no "
                f"{signal}: pair layers from 1."
            )
        elif not self.pairs:
            self.errors.append(
                f"--mapping {mapping} pairs only the embedding outputs, which have no {signal}: pair layers from 1."
            )

    def describe(self) -> str:
        """Return one line for the summary: the pairs, and a learned projection if the widths differ."""
        linear = getattr(getattr(self, "widen", None), "linear", None)
        if linear is None:
            return self.describe_pairs()
        return f"{self.describe_pairs()}  (student's width {linear.in_features} -> {linear.out_features} learned)"

    def describe_pairs(self) -> str:
        """Return the pairs in one line."""
        return "  ".join(f"{i} <- {j}" for i, j in self.pairs)
