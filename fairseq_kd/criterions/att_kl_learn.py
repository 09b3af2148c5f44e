"""`--criterion att_kl_learn`: attention distributions."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Optional

from fairseq.criterions import register_criterion
from torch import Tensor

from ..flags import flag
from ..losses import attention_kl
from ..signals import Signals
from .config import IntermediateConfig
from .distillation import DistillationCriterion
from .transfer import AttentionTransfer


@dataclass
class AttentionKLConfig(IntermediateConfig):
    attention_clamp: Optional[float] = flag(
        None,
        "lower bound of the student's attention probabilities; the released code of Wang et al., 2023 has 1e-7 "
        "(default: none, the exact KL)",
    )


@register_criterion("att_kl_learn", dataclass=AttentionKLConfig)
class AttentionKL(DistillationCriterion):
    """KL from the teacher's attention to the student's (Sun et al., MobileBERT, ACL 2020)."""

    resume_critical_fields = ("attention_clamp",)

    def __init__(self, cfg: AttentionKLConfig, task: Any) -> None:
        super().__init__(cfg, task)
        self.attention = self.use(AttentionTransfer, cfg.mapping)
        if cfg.attention_clamp is not None and not 0 < cfg.attention_clamp < 1:
            self.errors.append(
                f"--attention-clamp {cfg.attention_clamp} is out of range: give a number between 0 and 1, such as 1e-7."
            )
        self.attention_kl = partial(attention_kl, clamp=cfg.attention_clamp)

    def terms(self, student: Signals, teacher: Signals) -> Mapping[str, Tensor]:
        return {"attention": self.attention.score_factors(student, teacher, self.attention_kl)}
