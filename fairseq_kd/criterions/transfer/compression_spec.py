"""Parses `--hsk-keep`, and finds --hsk-... flags that have no effect with it."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Optional

from ...unused_flags import unused

PART = re.compile(r"(\d+)l|(\d+)t|(\d*\.?\d+)h")

RANKINGS = ["own", "skip"]

# Default selections of tokens and dimensions.
LENGTH, WIDTH, RANKING = "attention_no_sep", "magnitude", "own"


@dataclass(frozen=True)
class CompressionSpec:
    """The parsed flag. 1l_10t_0.1h keeps the top pair, 10 tokens of each sentence and a tenth of the dimensions.

    layers  pairs of states, from the top; None for all
    tokens  of each sentence; None for all
    share   of the dimensions; 1 for all
    """

    given: str
    layers: int | None
    tokens: int | None
    share: float

    @classmethod
    def read(cls, given: str) -> Optional["CompressionSpec"]:
        """Parse the flag: "all", or one to three parts in any order. None if it is invalid."""
        found: dict[str, str] = {}
        for part in [] if given == "all" else given.split("_"):
            if not PART.fullmatch(part) or part[-1] in found:
                return None
            found[part[-1]] = part[:-1]
        layers, tokens = (int(found[kind]) if kind in found else None for kind in "lt")
        return cls(given, layers, tokens, float(found.get("h", 1.0)))

    def problems(self, pairs: int, width: int | None) -> Iterable[str]:
        """Yield an error message if the amounts are out of range.

        pairs  number of pairs of states; 0 if unknown
        width  of the teacher; None if unknown
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

    def unused(self, length: str, width: str, ranking: str, teacher_alone: bool) -> list[str]:
        """Return the flags without effect, because all tokens or all dimensions are kept."""
        of_length = ["--hsk-length"] if length != LENGTH else []
        of_ranking = ["--hsk-ranking"] if ranking != RANKING else []
        of_width = ["--hsk-width"] if width != WIDTH else []
        of_width += ["--hsk-teacher-alone"] if teacher_alone else []

        entries = []
        if self.tokens is None:
            entries += unused(of_length + of_ranking, f"--hsk-keep {self.given} keeps all tokens")
        elif length == "left":
            entries += unused(of_ranking, "--hsk-length left")
        if self.share == 1:
            entries += unused(of_width, f"--hsk-keep {self.given} keeps all dimensions")
        return entries
