"""Transfer of relations among queries, keys or values (MiniLM)."""

from collections.abc import Iterable, Mapping

from torch import Tensor

from ...context import DistillationContext
from ...losses import relation_heads, relation_kl
from ...signals import Wanted
from .attention import LayerTransfer


class RelationTransfer(LayerTransfer):
    """Transfer of relations among queries, keys or values, with equal numbers of heads on both sides.

    heads  number of relation heads that split the full width of each side; None for the attention heads
    """

    def __init__(
        self, context: DistillationContext, method: str, mapping: str, heads: int | None = None
    ) -> None:
        super().__init__(context, method, mapping)
        self.heads = heads
        if self.errors:
            return

        self.errors += self._head_errors()
        self.student_wanted = Wanted.of(projections=[i for i, _ in self.pairs])
        self.teacher_wanted = Wanted.of(projections=[j for _, j in self.pairs])

    def _head_errors(self) -> Iterable[str]:
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
                    f"--relation-heads {self.heads} does not divide the {who}'s width of {shape.attention_width}: give a "
                    "number that divides it."
                )

    def relations(self, student: Mapping[int, Tensor], teacher: Mapping[int, Tensor], mask: Tensor) -> Tensor:
        """Return the sum over the pairs of the KL between relations, [B].

        student, teacher  queries, keys or values by layer, each [B, A, T, d]
        """
        return sum(relation_kl(self._split(student[i]), self._split(teacher[j]), mask) for i, j in self.pairs)

    def _split(self, vectors: Tensor) -> Tensor:
        return vectors if self.heads is None else relation_heads(vectors, self.heads)
