"""`--criterion att_mse_learn`: attention scores before the softmax."""

from collections.abc import Mapping
from typing import Any

from fairseq.criterions import register_criterion
from torch import Tensor

from ..losses import attention_mse
from ..signals import Signals
from .config import IntermediateConfig
from .distillation import DistillationCriterion
from .transfer import AttentionTransfer


@register_criterion("att_mse_learn", dataclass=IntermediateConfig)
class AttentionMSE(DistillationCriterion):
    """Attention scores, layer by layer (Jiao et al., TinyBERT, Findings of EMNLP 2020)."""

    def __init__(self, cfg: IntermediateConfig, task: Any) -> None:
        super().__init__(cfg, task)
        self.attention = self.use(AttentionTransfer, cfg.mapping)

    def terms(self, student: Signals, teacher: Signals) -> Mapping[str, Tensor]:
        return {"attention": self.attention.score_factors(student, teacher, attention_mse)}
