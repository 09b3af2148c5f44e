"""The parts that intermediate criterions are made of: what is paired, and whether it can be."""

from collections.abc import Callable, Iterable, Mapping

from torch import Tensor, nn

from ..layers import layer_map
from ..losses import Combine, relation_heads, relation_kl
from ..signals import Signals, Wanted


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


class HiddenTransfer(Transfer):
    """Hidden states: paired one by one, or all at once through a learned mixture (`combine`)."""

    def __init__(self, task, method: str, mapping: str) -> None:
        super().__init__(task, method, mapping, combine=mapping == "combine")
        self.mixture = None
        if self.problems:
            return

        if mapping == "combine":
            student_states, teacher_states = range(self.student.layers + 1), range(self.teacher.layers + 1)
            self.mixture = Combine(
                len(student_states), self.student.width, len(teacher_states), self.teacher.width
            )
        else:
            student_states, teacher_states = zip(*self.pairs, strict=True)
            self._check_widths()
        self.student_wanted = Wanted.of(states=student_states)
        self.teacher_wanted = Wanted.of(states=teacher_states)

    def _check_widths(self) -> None:
        if self.student.width != self.teacher.width:
            self.problems.append(
                f"--criterion {self.method} compares hidden states of equal width, but the student's are "
                f"{self.student.width} wide and the teacher's {self.teacher.width}: take --mapping combine, which "
                "learns a projection, or a student as wide as the teacher."
            )

    def all_tokens(self, student: Signals, teacher: Signals, loss: Callable[..., Tensor]) -> Tensor:
        """Sum over the pairs of loss(student state, teacher state, mask), [B]."""
        if self.mixture is not None:
            return loss(
                *self.mixture(_ordered(student.states), _ordered(teacher.states), student.mask), student.mask
            )
        return sum(loss(student.states[i], teacher.states[j], student.mask) for i, j in self.pairs)

    def first_token(self, student: Signals, teacher: Signals, loss: Callable[..., Tensor]) -> Tensor:
        """The same for the states at position 0: sum of loss(student state, teacher state), [B]."""
        if self.mixture is not None:
            return loss(*self.mixture(first_tokens(student.states), first_tokens(teacher.states)))
        return sum(loss(student.states[i][:, 0], teacher.states[j][:, 0]) for i, j in self.pairs)


class LayerTransfer(Transfer):
    """What is computed inside layers; the embedding pair 0:0 has none of it and is left out."""

    def __init__(self, task, method: str, mapping: str) -> None:
        super().__init__(task, method, mapping, combine=mapping == "combine")
        if mapping == "combine":
            self.problems.append(
                f"--mapping combine mixes hidden states, but --criterion {method} compares attention too: take skip, last "
                "or pairs of layers."
            )
        self.pairs = [(i, j) for i, j in self.pairs if (i, j) != (0, 0)]
        if not self.problems:
            self._check_layers()

    def _check_layers(self) -> None:
        embedding = [f"{i}:{j}" for i, j in self.pairs if 0 in (i, j)]
        if embedding:
            self.problems.append(
                f"--mapping {self.mapping} pairs {embedding[0]}, but state 0 is the embedding output and has no "
                "attention: pair layers from 1."
            )
        elif not self.pairs:
            self.problems.append(
                f"--mapping {self.mapping} pairs no layer with attention: pair layers from 1."
            )


class AttentionTransfer(LayerTransfer):
    """Attention scores, head by head."""

    def __init__(self, task, method: str, mapping: str) -> None:
        super().__init__(task, method, mapping)
        if self.problems:
            return

        self._check_heads()
        self.student_wanted = Wanted.of(attention=[i for i, _ in self.pairs])
        self.teacher_wanted = Wanted.of(attention=[j for _, j in self.pairs])

    def _check_heads(self) -> None:
        if self.student.heads != self.teacher.heads:
            self.problems.append(
                f"--criterion {self.method} compares attention head by head, but the student has "
                f"{self.student.heads} heads and the teacher {self.teacher.heads}: take a student with "
                f"--encoder-attention-heads {self.teacher.heads}, or --criterion minilm_v2 with --relation-heads."
            )

    def scores(self, student: Signals, teacher: Signals, loss: Callable[..., Tensor]) -> Tensor:
        """Sum over the pairs of loss(student scores, teacher scores, mask), [B]."""
        return sum(loss(student.attention[i], teacher.attention[j], student.mask) for i, j in self.pairs)


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
            if self.heads < 1 or shape.width % self.heads:
                yield (
                    f"--relation-heads {self.heads} cannot share the {who}'s width of {shape.width}: give a number "
                    "that divides it."
                )

    def relations(self, student: Mapping[int, Tensor], teacher: Mapping[int, Tensor], mask: Tensor) -> Tensor:
        """Sum over the pairs of the KL between relations, [B]; of queries, keys or values by layer."""
        return sum(relation_kl(self._cut(student[i]), self._cut(teacher[j]), mask) for i, j in self.pairs)

    def _cut(self, vectors: Tensor) -> Tensor:
        return vectors if self.heads is None else relation_heads(vectors, self.heads)


def _ordered(states: Mapping[int, Tensor]) -> list[Tensor]:
    return [states[number] for number in sorted(states)]


def first_tokens(states: Mapping[int, Tensor]) -> list[Tensor]:
    """What stands at position 0 of each state, from the lowest up, [B, H] each."""
    return [state[:, 0] for state in _ordered(states)]
