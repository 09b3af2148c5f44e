"""What all parts of criterions have in common."""

from torch import nn

from ...layers import layer_map
from ...signals import Wanted


class Part(nn.Module):
    """Something of the two models that is compared, checked against both.

    pairs           [(student state, teacher state)], where it pairs them
    student_wanted  the signals of each side that it needs
    teacher_wanted
    problems        one sentence for each reason why the two cannot be compared
    unused          flags without effect
    """

    def __init__(self, task, method: str) -> None:
        super().__init__()
        self.method = method
        self.student, self.teacher = task.student_shape, task.teacher_shape
        self.pairs: list[tuple[int, int]] = []
        self.student_wanted = self.teacher_wanted = Wanted()
        self.unused: list[str] = []
        self.problems = [] if self.teacher else [task.teacher_missing(f"--criterion {method}")]

    def pair_states(self, mapping: str) -> None:
        """Sets the pairs that `--mapping` names, as far as the teacher is known."""
        if self.teacher is None:
            return
        try:
            self.pairs = layer_map(mapping, self.student.layers, self.teacher.layers)
        except ValueError as error:
            self.problems.append(str(error))

    def pair_layers(self, mapping: str, what: str) -> None:
        """The same for `what` is found inside layers alone: the embedding pair 0:0 is left out."""
        self.pair_states(mapping)
        self.pairs = [(i, j) for i, j in self.pairs if (i, j) != (0, 0)]
        if self.problems:
            return

        embedding = [f"{i}:{j}" for i, j in self.pairs if 0 in (i, j)]
        if embedding:
            self.problems.append(
                f"--mapping {mapping} pairs {embedding[0]}, but state 0 is the embedding output and has no "
                f"{what}: pair layers from 1."
            )
        elif not self.pairs:
            self.problems.append(f"--mapping {mapping} pairs no layer with {what}: pair layers from 1.")

    def map_row(self) -> str:
        """Which student state learns from which of the teacher's, for whoever starts the training."""
        return "  ".join(f"{i} <- {j}" for i, j in self.pairs)
