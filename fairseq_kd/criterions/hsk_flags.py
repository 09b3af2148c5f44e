"""Flags of `--criterion hsk`."""

from dataclasses import dataclass, field

from fairseq.dataclass import ChoiceEnum

from ..layers import MAPPINGS
from ..losses import LENGTHS, WIDTHS
from .config import IntermediateConfig
from .transfer.compression_spec import LENGTH, RANKING, RANKINGS, WIDTH


@dataclass
class HSKConfig(IntermediateConfig):
    mapping: str = field(
        default="skip",
        metadata={
            "help": f"which teacher state each student state learns from: {MAPPINGS}; the paper's t_top10 is accepted "
            "as well; its t_top12, of a teacher of 12 layers, is skip (default: skip)"
        },
    )
    hsk_keep: str = field(
        default="all",
        metadata={
            "help": "what is kept: 1l_10t_0.1h is the top pair of states, 10 tokens of each sentence and a tenth of the "
            "dimensions; parts left out keep all, such as 10t; or all (default: all)"
        },
    )
    hsk_length: ChoiceEnum(list(LENGTHS)) = field(
        default=LENGTH,
        metadata={
            "help": "which tokens: left, the first; attention, those the teacher's position 0 attends to most; "
            "attention_no_sep, the same without separators (default: attention_no_sep)"
        },
    )
    hsk_width: ChoiceEnum(list(WIDTHS)) = field(
        default=WIDTH,
        metadata={
            "help": "which dimensions: magnitude, the teacher's largest of each token; magnitude_sentence, of all kept "
            "tokens together; uniform, evenly spread; random, drawn once and for all (default: magnitude)"
        },
    )
    hsk_ranking: ChoiceEnum(RANKINGS) = field(
        default=RANKING,
        metadata={
            "help": "whose attention ranks tokens: own, of the teacher's layer that made the state; skip, as the authors' "
            "code does by default, of the layer that --mapping skip would pair (default: own)"
        },
    )
    hsk_teacher_alone: bool = field(
        default=False,
        metadata={
            "help": "mask dimensions on the teacher's side only, as the authors' code, which pulls the student to 0 there "
            "(default: on both sides)"
        },
    )
