"""Transfer of compressed hidden states (HSK), and the parser of `--hsk-keep`."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Optional

from torch import Tensor

from ...context import DistillationContext
from ...layers import layer_map
from ...losses import Compression, Widen, compressed_mse
from ...signals import Signals, Wanted
from .base import Transfer

# One part of --hsk-keep.
PART = re.compile(r"(\d+)l|(\d+)t|(\d*\.?\d+)h")

RANKINGS = ["own", "skip"]

# Default selections of tokens and dimensions.
LENGTH, WIDTH, RANKING = "attention_no_sep", "magnitude", "own"


@dataclass(frozen=True)
class CompressionSpec:
    """A parsed value of `--hsk-keep`, such as 1l_10t_0.1h: the top pair, 10 tokens, a tenth of the dimensions.

    layers  number of kept pairs of states, from the top; None for all
    tokens  number of kept tokens of each sentence; None for all
    share   share of kept dimensions; 1 for all
    """

    given: str
    layers: int | None
    tokens: int | None
    share: float

    @classmethod
    def parse(cls, given: str) -> Optional["CompressionSpec"]:
        """Parse the value: "all", or one to three parts in any order. Return None if it is invalid."""
        found: dict[str, str] = {}
        for part in [] if given == "all" else given.split("_"):
            if not PART.fullmatch(part) or part[-1] in found:
                return None
            found[part[-1]] = part[:-1]
        layers, tokens = (int(found[kind]) if kind in found else None for kind in "lt")
        return cls(given, layers, tokens, float(found.get("h", 1.0)))

    def errors(self, pairs: int, width: int | None) -> Iterable[str]:
        """Yield an error message if the amounts are out of range.

        pairs  number of pairs of states; 0 if unknown
        width  width of the teacher; None if unknown
        """
        if self.layers == 0 or self.tokens == 0 or not 0 < self.share <= 1:
            yield (
                f"--hsk-keep {self.given} is out of range: give 1 layer and 1 token or more, and a share above 0, up to 1."
            )
        elif pairs and self.layers is not None and self.layers > pairs:
            yield (
                f"--hsk-keep {self.given} keeps {self.layers} pairs of states, but --mapping has {pairs}: give {pairs}l "
                "or less."
            )
        elif width is not None and int(self.share * width) < 1:
            yield (
                f"--hsk-keep {self.given} keeps less than one of the teacher's {width} dimensions: give a larger share."
            )


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
        context: DistillationContext,
        method: str,
        mapping: str,
        keep: str,
        length: str = LENGTH,
        width: str = WIDTH,
        ranking: str = RANKING,
        teacher_alone: bool = False,
    ) -> None:
        super().__init__(context, method)
        self.teacher_alone = teacher_alone
        self.pair_states(mapping)
        spec = CompressionSpec.parse(keep)
        if spec is None:
            self.errors.append(
                f"--hsk-keep {keep} is not valid: give for example 1l_10t_0.1h (layers, tokens, share of the dimensions), "
                "any of the three, or all."
            )
        else:
            teacher_width = None if self.teacher is None else self.teacher.width
            self.errors += spec.errors(len(self.pairs), teacher_width)
        if self.errors:
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

    def describe_pairs(self) -> str:
        """Describe the pairs and their compression in one line."""
        return "  ".join(f"{i} <- {j} ({how})" for (i, j), how in self.how.items())

    def _ranking_layer(self, i: int, j: int, ranking: str) -> int:
        if ranking == "skip":
            j = dict(layer_map("skip", self.student.layers, self.teacher.layers))[i]
        return max(j, 1)
