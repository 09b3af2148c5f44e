"""`--criterion hsk`: hidden states, compressed in depth, length and width."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fairseq.criterions import register_criterion
from fairseq.dataclass import ChoiceEnum
from torch import Tensor

from ..flags import flag
from ..layers import MAPPINGS
from ..losses import LENGTHS, WIDTHS
from ..signals import Signals
from .config import IntermediateConfig
from .distillation import DistillationCriterion
from .transfer import CompressedStates
from .transfer.compressed import LENGTH, RANKING, RANKINGS, WIDTH


@dataclass
class HSKConfig(IntermediateConfig):
    mapping: str = flag(
        "skip",
        f"teacher state that each student state learns from: {MAPPINGS}; the paper's t_top10 is accepted, too; "
        "its t_top12, for a teacher with 12 layers, equals skip (default: skip)",
    )
    hsk_keep: str = flag(
        "all",
        "amount to keep: 1l_10t_0.1h keeps the top pair of states, 10 tokens of each sentence and a tenth of "
        "the dimensions; each part may be omitted, as in 10t, and then keeps all; or all (default: all)",
    )
    hsk_length: ChoiceEnum(list(LENGTHS)) = flag(
        LENGTH,
        "tokens to keep: left, the first; attention, those that the teacher's position 0 attends to most; "
        "attention_no_sep, the same without separators (default: attention_no_sep)",
    )
    hsk_width: ChoiceEnum(list(WIDTHS)) = flag(
        WIDTH,
        "dimensions to keep: magnitude, the teacher's largest of each token; magnitude_sentence, the "
        "largest of all kept tokens together; uniform, evenly spaced; random, drawn once (default: magnitude)",
    )
    hsk_ranking: ChoiceEnum(RANKINGS) = flag(
        RANKING,
        "attention that ranks the tokens: own, of the teacher's layer that computes the state; skip, the "
        "default of the authors' code, of the layer that --mapping skip would pair (default: own)",
    )
    hsk_teacher_alone: bool = flag(
        False,
        "mask dimensions of the teacher only, as the authors' code; the student then learns 0 there "
        "(default: mask both)",
    )


@register_criterion("hsk", dataclass=HSKConfig)
class HSK(DistillationCriterion):
    """Hidden-state knowledge (Liu et al., Marginal Utility Diminishes, ACL 2021): sum over the kept pairs.

    Their first stage is `--hard-weight 0 --soft-weight 0`. Their second stage is `kd` with `--hard-weight 0 --soft-weight
    1 --temperature 1`, which has the gradient of their soft cross entropy.
    """

    resume_critical_fields = ("hsk_keep", "hsk_length", "hsk_width", "hsk_ranking", "hsk_teacher_alone")

    def __init__(self, cfg: HSKConfig, task: Any) -> None:
        super().__init__(cfg, task)
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
