"""The part that compares what is kept of hidden states."""

import re

from torch import Tensor

from ...layers import layer_map
from ...losses import Compression, Widen, compressed_mse
from ...signals import Signals, Wanted
from .part import Part

PART = re.compile(r"(\d+)l|(\d+)t|(\d*\.?\d+)h")


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
        length: str,
        width: str,
        ranking: str,
        teacher_alone: bool,
    ) -> None:
        super().__init__(task, method)
        self.teacher_alone = teacher_alone
        self.pair_states(mapping)
        kept = self._kept(keep)
        if self.problems:
            return

        layers, tokens, share = kept
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

    def _kept(self, keep: str) -> tuple[int | None, int | None, float] | None:
        """How many pairs and tokens, and which share of the dimensions; a problem where that cannot be."""
        try:
            layers, tokens, share = parse_keep(keep)
        except ValueError:
            self.problems.append(
                f"--hsk-keep {keep} does not say what is kept: give such as 1l_10t_0.1h (layers, tokens, share of the "
                "dimensions), any of the three, or all."
            )
            return None

        if layers == 0 or tokens == 0 or not 0 < share <= 1:
            self.problems.append(
                f"--hsk-keep {keep} keeps nothing, or more than there is: give 1 layer and 1 token or more, and a share "
                "above 0, up to 1."
            )
        elif self.pairs and layers is not None and layers > len(self.pairs):
            self.problems.append(
                f"--hsk-keep {keep} keeps {layers} pairs of states, but --mapping makes {len(self.pairs)}: give "
                f"{len(self.pairs)}l or less."
            )
        elif self.teacher is not None and int(share * self.teacher.width) < 1:
            self.problems.append(
                f"--hsk-keep {keep} keeps less than one of the teacher's {self.teacher.width} dimensions: give a larger "
                "share."
            )
        elif self.teacher_alone and share == 1:
            self.problems.append(
                f"--hsk-teacher-alone is about dimensions that are left out, and --hsk-keep {keep} keeps them all: leave "
                "out the one, or give a share (0.1h) in the other."
            )
        return layers, tokens, share


def parse_keep(keep: str) -> tuple[int | None, int | None, float]:
    """1l_10t_0.1h as (1, 10, 0.1): layers, tokens, share of the dimensions; None, None, 1 where a part is left out.

    Raises ValueError where it is something else.
    """
    found: dict[str, str] = {}
    for part in [] if keep == "all" else keep.split("_"):
        if not PART.fullmatch(part) or part[-1] in found:
            raise ValueError(keep)
        found[part[-1]] = part[:-1]
    layers, tokens = (int(found[kind]) if kind in found else None for kind in "lt")
    return layers, tokens, float(found.get("h", 1.0))
