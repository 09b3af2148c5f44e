"""The part that compares relations among queries, keys or values."""

from collections.abc import Iterable, Mapping

from torch import Tensor

from ...losses import relation_heads, relation_kl
from ...signals import Wanted
from .attention import LayerTransfer


class RelationTransfer(LayerTransfer):
    """Relations among queries, keys or values, in as many heads on both sides.

    heads  relation heads that each side's full width is cut into; None for the attention heads
    """

    def __init__(self, task, method: str, mapping: str, heads: int | None = None) -> None:
        super().__init__(task, method, mapping)
        self.heads = heads
        if self.problems:
            return

        self.problems += self._heads_problems()
        self.student_wanted = Wanted.of(projections=[i for i, _ in self.pairs])
        self.teacher_wanted = Wanted.of(projections=[j for _, j in self.pairs])

    def _heads_problems(self) -> Iterable[str]:
        if self.heads is None:
            if self.student.heads != self.teacher.heads:
                yield (
                    f"--criterion {self.method} compares the relations of each head, but the student has "
                    f"{self.student.heads} heads and the teacher {self.teacher.heads}: give --relation-heads, a number "
                    "that divides both widths."
                )
            return
        for who, shape in ("student", self.student), ("teacher", self.teacher):
            if self.heads < 1 or shape.attention_width % self.heads:
                yield (
                    f"--relation-heads {self.heads} cannot share the {who}'s width of {shape.attention_width}: give a "
                    "number that divides it."
                )

    def relations(self, student: Mapping[int, Tensor], teacher: Mapping[int, Tensor], mask: Tensor) -> Tensor:
        """Sum over the pairs of the KL between relations, [B]; of queries, keys or values by layer."""
        return sum(relation_kl(self._cut(student[i]), self._cut(teacher[j]), mask) for i, j in self.pairs)

    def _cut(self, vectors: Tensor) -> Tensor:
        return vectors if self.heads is None else relation_heads(vectors, self.heads)
