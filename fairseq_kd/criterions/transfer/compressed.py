"""Transfer of compressed hidden states (HSK)."""

from torch import Tensor

from ...layers import layer_map
from ...losses import Compression, Widen, compressed_mse
from ...signals import Signals, Wanted
from .base import Transfer
from .compression_spec import LENGTH, RANKING, WIDTH, CompressionSpec


class CompressedStates(Transfer):
    """Transfer of hidden states, paired one by one and compressed: fewer pairs, tokens or dimensions.

    mapping        layer map of the pairs
    keep           amount to keep, as in --hsk-keep, see CompressionSpec
    length, width  selection of tokens and of dimensions, see Compression
    ranking        attention that ranks tokens: own, of the layer that computes the teacher's state (layer 1 for
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
        spec = CompressionSpec.read(keep)
        if spec is None:
            self.problems.append(
                f"--hsk-keep {keep} is not valid: give for example 1l_10t_0.1h (layers, tokens, share of the dimensions), "
                "any of the three, or all."
            )
        else:
            self.problems += spec.problems(len(self.pairs), self.teacher and self.teacher.width)
            self.unused += spec.unused(length, width, ranking, teacher_alone)
        if self.problems:
            return

        layers, tokens, share = spec.layers, spec.tokens, spec.share
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
        """Return the sum over the kept pairs of their mean squared difference, [B]."""
        total = 0.0
        for (i, j), how in self.how.items():
            kept = teacher.compressed[j, how]
            s = self.widen(kept.tokens_of(student.states[i]), kept.real)
            total = total + compressed_mse(s, kept, self.teacher_alone)
        return total

    def map_row(self) -> str:
        """Describe the pairs and their compression in one line."""
        return "  ".join(f"{i} <- {j} ({how})" for (i, j), how in self.how.items())

    def _ranking_layer(self, i: int, j: int, ranking: str) -> int:
        if ranking == "skip":
            j = dict(layer_map("skip", self.student.layers, self.teacher.layers))[i]
        return max(j, 1)
