"""How much is kept of hidden states, as `--hsk-keep` says it, and whether other flags then choose anything."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Optional

PART = re.compile(r"(\d+)l|(\d+)t|(\d*\.?\d+)h")

RANKINGS = ["own", "skip"]

# What chooses where nobody says otherwise.
LENGTH, WIDTH, RANKING = "attention_no_sep", "magnitude", "own"


@dataclass(frozen=True)
class Keep:
    """1l_10t_0.1h: the top pair of states, 10 tokens of each sentence, a tenth of the dimensions.

    layers, tokens  None for all
    share           1 for all
    """

    given: str
    layers: int | None
    tokens: int | None
    share: float

    @classmethod
    def read(cls, given: str) -> Optional["Keep"]:
        """What that says, of which parts may be left out, or all of them: all. None where it says nothing."""
        found: dict[str, str] = {}
        for part in [] if given == "all" else given.split("_"):
            if not PART.fullmatch(part) or part[-1] in found:
                return None
            found[part[-1]] = part[:-1]
        layers, tokens = (int(found[kind]) if kind in found else None for kind in "lt")
        return cls(given, layers, tokens, float(found.get("h", 1.0)))

    def problems(self, pairs: int, width: int | None) -> Iterable[str]:
        """Why so much cannot be kept: one sentence each.

        pairs  how many there are; 0 where that is not known
        width  of the teacher; None where that is not known
        """
        if self.layers == 0 or self.tokens == 0 or not 0 < self.share <= 1:
            yield (
                f"--hsk-keep {self.given} keeps nothing, or more than there is: give 1 layer and 1 token or more, and a "
                "share above 0, up to 1."
            )
        elif pairs and self.layers is not None and self.layers > pairs:
            yield (
                f"--hsk-keep {self.given} keeps {self.layers} pairs of states, but --mapping makes {pairs}: give {pairs}l "
                "or less."
            )
        elif width is not None and int(self.share * width) < 1:
            yield (
                f"--hsk-keep {self.given} keeps less than one of the teacher's {width} dimensions: give a larger share."
            )

    def idle(self, length: str, width: str, ranking: str, teacher_alone: bool) -> Iterable[str]:
        """Why flags are of no use that choose where there is nothing to choose among: one sentence each."""
        chosen = []
        if self.tokens is None:
            usual = (("--hsk-length", length, LENGTH), ("--hsk-ranking", ranking, RANKING))
            chosen += [(f"{flag} {given}", "tokens", "10t") for flag, given, other in usual if given != other]
        elif length == "left" and ranking != RANKING:
            yield (
                f"--hsk-ranking {ranking} says whose attention ranks tokens, and --hsk-length left takes them as they "
                "stand: leave one of the two out."
            )
        if self.share == 1 and width != WIDTH:
            chosen.append((f"--hsk-width {width}", "dimensions", "0.1h"))
        for flag, what, example in chosen:
            yield (
                f"{flag} chooses among {what}, and --hsk-keep {self.given} keeps them all: leave it out, or say how many "
                f"are kept, as {example} does."
            )
        if self.share == 1 and teacher_alone:
            yield (
                f"--hsk-teacher-alone is about dimensions that are left out, and --hsk-keep {self.given} keeps them all: "
                "leave out the one, or give a share (0.1h) in the other."
            )
