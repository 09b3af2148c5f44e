"""`--criterion hsk`: hidden states, compressed in depth, length and width."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from fairseq.criterions import register_criterion
from fairseq.dataclass import ChoiceEnum
from torch import Tensor

from ..layers import MAPPINGS
from ..losses import LENGTHS, WIDTHS
from ..signals import Signals
from .config import IntermediateConfig
from .distillation import DistillationCriterion
from .parts import CompressedStates


@dataclass
class HSKConfig(IntermediateConfig):
    mapping: str = field(
        default="skip",
        metadata={
            "help": f"which teacher state each student state learns from: {MAPPINGS}; the paper's t_top10 is top10, its "
            "t_top12, of a teacher of 12 layers, is skip (default: skip)"
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
        default="attention_no_sep",
        metadata={
            "help": "which tokens: left, the first; attention, those the teacher's position 0 attends to most; "
            "attention_no_sep, the same without separators (default: attention_no_sep)"
        },
    )
    hsk_width: ChoiceEnum(list(WIDTHS)) = field(
        default="magnitude",
        metadata={
            "help": "which dimensions: magnitude, the teacher's largest of each token; magnitude_sentence, of all kept "
            "tokens together; uniform, evenly spread; random, drawn once and for all (default: magnitude)"
        },
    )
    hsk_ranking: ChoiceEnum(["own", "skip"]) = field(
        default="own",
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


@register_criterion("hsk", dataclass=HSKConfig)
class HSK(DistillationCriterion):
    """Hidden-state knowledge (Liu et al., Marginal Utility Diminishes, ACL 2021): sum over the kept pairs.

    Their first stage is `--hard-weight 0 --soft-weight 0`; the second is `kd` with `--hard-weight 0 --soft-weight 1
    --temperature 1`, whose gradient is that of their soft cross entropy.
    """

    def __init__(self, cfg: HSKConfig, task) -> None:
        super().__init__(cfg, task)
        self.problems += _idle_flags(cfg)
        self.hidden = self.use(
            CompressedStates,
            cfg.mapping,
            cfg.hsk_keep,
            cfg.hsk_length,
            cfg.hsk_width,
            cfg.hsk_ranking,
            cfg.hsk_teacher_alone,
        )

    def terms(self, student: Signals, teacher: Signals) -> Mapping[str, Tensor]:
        return {"hidden": self.hidden(student, teacher)}


def _idle_flags(cfg: HSKConfig) -> Iterable[str]:
    """Why flags that choose among tokens or dimensions are of no use where all of these are kept."""
    chooses = {"hsk_length": "tokens", "hsk_ranking": "tokens", "hsk_width": "dimensions"}
    for name, what in chooses.items():
        given, usual = getattr(cfg, name), HSKConfig.__dataclass_fields__[name].default
        if str(given) != usual and {"tokens": "t", "dimensions": "h"}[what] not in cfg.hsk_keep:
            yield (
                f"--{name.replace('_', '-')} {given} chooses among {what}, and --hsk-keep {cfg.hsk_keep} keeps them all: "
                "leave it out, or say how many are kept, as 10t_0.1h does."
            )
