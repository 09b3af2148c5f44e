"""Flags of `--criterion sda`."""

from dataclasses import dataclass, field
from typing import Optional

from fairseq.dataclass import ChoiceEnum
from omegaconf import II

from ..teachers.averaged import DECAY, FORMS
from .config import OwnTermsConfig


@dataclass
class SDAConfig(OwnTermsConfig):
    hard_weight: Optional[float] = field(
        default=1.0,
        metadata={"help": "weight of the loss against the labels; 0 leaves it out (default: 1.0)"},
    )
    soft_weight: Optional[float] = field(
        default=0.0,
        metadata={
            "help": "weight of the loss against the logits of another teacher beside the student's own past, a --teacher "
            "then; 0 leaves it out (default: 0.0)"
        },
    )
    inter_weight: float = field(
        default=1.0,
        metadata={
            "help": "lambda of the paper, which tries 0.5 to 1.5: weight of the squared distance to the logits of the "
            "student's own past; 0 leaves it out (default: 1.0)"
        },
    )
    sda_form: ChoiceEnum(FORMS) = field(
        default="average",
        metadata={
            "help": "the past answers as one model of averaged parameters; as the averaged logits of as many models as "
            "--sda-window says (voted); or as an exponential average of all parameters (ema) (default: average)"
        },
    )
    sda_window: Optional[str] = field(
        default=None,
        metadata={
            "help": "how many updates back the past reaches, 1 or more, each of which takes memory, and room in every "
            "checkpoint, for the student's parameters at 4 bytes; or all (0 means the same), which takes that of one "
            "(default: 1 update; ema has none)"
        },
    )
    sda_decay: Optional[float] = field(
        default=None,
        metadata={
            "help": "with --sda-form ema, share of the average that stays at an update, 0 to 1; smaller in the first "
            f"updates (default: {DECAY})"
        },
    )
    sda_host: bool = field(
        default=False,
        metadata={"help": "keep the window in host memory (default: beside the student)"},
    )
    sda_evaluate: ChoiceEnum(["student", "average"]) = field(
        default="student",
        metadata={
            "help": "whose answers validations judge, and whose weights are taken from the run's checkpoints: the "
            "student's, or the average's; with --inter-weight 0 --sda-window all that is SE of the paper (default: "
            "student)"
        },
    )
    amp: bool = II("common.amp")
