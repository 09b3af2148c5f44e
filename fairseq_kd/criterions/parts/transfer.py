"""What all parts share that pair layers."""

from torch import nn

from ...layers import layer_map
from ...signals import Wanted


class Transfer(nn.Module):
    """Pairs of student and teacher layers, checked against both models.

    pairs           [(student state, teacher state)]
    student_wanted  the signals of each side that the pairs need
    teacher_wanted
    problems        one sentence for each reason why the two cannot be compared
    """

    def __init__(self, task, method: str, mapping: str, combine: bool = False) -> None:
        super().__init__()
        self.method = method
        self.mapping = mapping
        self.student, self.teacher = task.student_shape, task.teacher_shape
        self.pairs: list[tuple[int, int]] = []
        self.student_wanted = self.teacher_wanted = Wanted()
        self.problems = [] if self.teacher else [task.teacher_missing(f"--criterion {method}")]
        if self.teacher and not combine:
            self._map()

    def _map(self) -> None:
        try:
            self.pairs = layer_map(self.mapping, self.student.layers, self.teacher.layers)
        except ValueError as error:
            self.problems.append(str(error))

    def map_row(self) -> str:
        """Which student state learns from which of the teacher's, for whoever starts the training."""
        return "  ".join(f"{i} <- {j}" for i, j in self.pairs)
