"""`--criterion hidden_mse_learn`: hidden states of all tokens."""

from collections.abc import Mapping
from typing import Any

from fairseq.criterions import register_criterion
from torch import Tensor

from ..losses import hidden_mse
from ..signals import Signals
from .config import IntermediateConfig
from .distillation import DistillationCriterion
from .transfer import HiddenTransfer


@register_criterion("hidden_mse_learn", dataclass=IntermediateConfig)
class HiddenMSE(DistillationCriterion):
    """Hidden states, layer by layer (Jiao et al., TinyBERT, Findings of EMNLP 2020)."""

    mixes_states = True

    def __init__(self, cfg: IntermediateConfig, task: Any) -> None:
        super().__init__(cfg, task)
        self.hidden = self.use(HiddenTransfer, cfg.mapping)

    def terms(self, student: Signals, teacher: Signals) -> Mapping[str, Tensor]:
        return {"hidden": self.hidden.all_tokens(student, teacher, hidden_mse)}
