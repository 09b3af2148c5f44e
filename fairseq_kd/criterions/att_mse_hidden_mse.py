"""`--criterion att_mse_hidden_mse`: attention scores and hidden states, as TinyBERT."""

from collections.abc import Mapping
from typing import Any

from fairseq.criterions import register_criterion
from torch import Tensor

from ..losses import hidden_mse
from ..signals import Signals
from .att_mse_learn import AttentionMSE
from .config import IntermediateConfig
from .transfer import HiddenTransfer


@register_criterion("att_mse_hidden_mse", dataclass=IntermediateConfig)
class AttentionMSEHiddenMSE(AttentionMSE):
    """Attention MSE and hidden MSE, 1:1 (Jiao et al., TinyBERT, Findings of EMNLP 2020)."""

    def __init__(self, cfg: IntermediateConfig, task: Any) -> None:
        super().__init__(cfg, task)
        self.hidden = self.use(HiddenTransfer, cfg.mapping)

    def terms(self, student: Signals, teacher: Signals) -> Mapping[str, Tensor]:
        hidden = self.hidden.all_tokens(student, teacher, hidden_mse)
        return {**super().terms(student, teacher), "hidden": hidden}
