"""The part that compares what is kept of hidden states."""

from torch import Tensor

from ...layers import layer_map
from ...losses import Compression, Widen, compressed_mse
from ...signals import Signals, Wanted
from .keep import LENGTH, RANKING, WIDTH, Keep
from .part import Part


class CompressedStates(Part):
    """Hidden states, paired one by one, of which little is kept in up to three dimensions.

    mapping        which states are paired
    keep           all, or such as 1l_10t_0.1h: the top pair, 10 tokens of each sentence, a tenth of the dimensions
    length, width  which tokens and which dimensions, see Compression
    ranking        whose attention ranks tokens: own, that of the layer which made the teacher's state (of layer 1 for
                   state 0); skip, of the layer that mapping skip pairs with the student's state
    teacher_alone  masks dimensions of the teacher's states only
    """

    def __init__(
        self,
        task,
        method: str,
        mapping: str,
        keep: str,
        length: str = LENGTH,
        width: str = WIDTH,
        ranking: str = RANKING,
        teacher_alone: bool = False,
    ) -> None:
        super().__init__(task, method)
        self.teacher_alone = teacher_alone
        self.pair_states(mapping)
        kept = Keep.read(keep)
        if kept is None:
            self.problems.append(
                f"--hsk-keep {keep} does not say what is kept: give such as 1l_10t_0.1h (layers, tokens, share of the "
                "dimensions), any of the three, or all."
            )
        else:
            self.problems += kept.problems(len(self.pairs), self.teacher and self.teacher.width)
            self.unused += kept.unused(length, width, ranking, teacher_alone)
        if self.problems:
            return

        layers, tokens, share = kept.layers, kept.tokens, kept.share
        self.pairs = sorted(self.pairs)[-layers:] if layers else sorted(self.pairs)
        self.how = {
            (i, j): Compression(
                tokens,
                length if tokens else None,
                self._ranking_layer(i, j, ranking) if tokens and length != "left" else None,
                share,
                width if share < 1 else None,
            )
            for i, j in self.pairs
        }
        self.widen = Widen(self.student.width, self.teacher.width)
        self.student_wanted = Wanted.of(states=[i for i, _ in self.pairs])
        self.teacher_wanted = Wanted.of(compressed=[(j, how) for (_, j), how in self.how.items()])

    def forward(self, student: Signals, teacher: Signals) -> Tensor:
        """Sum over the kept pairs of their mean squared difference, [B]."""
        total = 0.0
        for (i, j), how in self.how.items():
            kept = teacher.compressed[j, how]
            s = self.widen(kept.tokens_of(student.states[i]), kept.real)
            total = total + compressed_mse(s, kept, self.teacher_alone)
        return total

    def map_row(self) -> str:
        return "  ".join(f"{i} <- {j} ({how})" for (i, j), how in self.how.items())

    def _ranking_layer(self, i: int, j: int, ranking: str) -> int:
        if ranking == "skip":
            j = dict(layer_map("skip", self.student.layers, self.teacher.layers))[i]
        return max(j, 1)
