"""`--criterion hidden_mse_token`: hidden states of the first token."""

from collections.abc import Mapping
from typing import Any

from fairseq.criterions import register_criterion
from torch import Tensor

from ..losses import token_mse
from ..signals import Signals
from .config import IntermediateConfig
from .distillation import DistillationCriterion
from .transfer import HiddenTransfer


@register_criterion("hidden_mse_token", dataclass=IntermediateConfig)
class HiddenMSEToken(DistillationCriterion):
    """Hidden states at position 0 (Wang et al., How to Distill your BERT, ACL 2023)."""

    mixes_states = True

    def __init__(self, cfg: IntermediateConfig, task: Any) -> None:
        super().__init__(cfg, task)
        self.hidden = self.use(HiddenTransfer, cfg.mapping, scope="cls")

    def terms(self, student: Signals, teacher: Signals) -> Mapping[str, Tensor]:
        return {"hidden": self.hidden.first_token(student, teacher, token_mse)}
