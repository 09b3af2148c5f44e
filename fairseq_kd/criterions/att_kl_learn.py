"""`--criterion att_kl_learn`: attention distributions."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Optional

from fairseq.criterions import register_criterion
from torch import Tensor

from ..losses import attention_kl
from ..signals import Signals
from .config import IntermediateConfig
from .distillation import DistillationCriterion
from .transfer import AttentionTransfer


@dataclass
class AttentionKLConfig(IntermediateConfig):
    attention_clamp: Optional[float] = field(
        default=None,
        metadata={
            "help": "smallest probability the student's attention is credited with; 1e-7 is the released code of "
            "Wang et al., 2023 (default: none, the exact KL)"
        },
    )


@register_criterion("att_kl_learn", dataclass=AttentionKLConfig)
class AttentionKL(DistillationCriterion):
    """KL from the teacher's attention to the student's (Sun et al., MobileBERT, ACL 2020)."""

    settled_by = ("attention_clamp",)

    def __init__(self, cfg: AttentionKLConfig, task) -> None:
        super().__init__(cfg, task)
        self.attention = self.use(AttentionTransfer, cfg.mapping)
        if cfg.attention_clamp is not None and not 0 < cfg.attention_clamp < 1:
            self.problems.append(
                f"--attention-clamp {cfg.attention_clamp} is not a probability: give a number between 0 and 1 such as 1e-7."
            )
        self.attention_kl = partial(attention_kl, clamp=cfg.attention_clamp)

    def terms(self, student: Signals, teacher: Signals) -> Mapping[str, Tensor]:
        return {"attention": self.attention.scores(student, teacher, self.attention_kl)}
