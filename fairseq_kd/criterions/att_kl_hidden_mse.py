"""`--criterion att_kl_hidden_mse`: attention distributions and hidden states, as MobileBERT."""

from collections.abc import Mapping
from typing import Any

from fairseq.criterions import register_criterion
from torch import Tensor

from ..losses import hidden_mse
from ..signals import Signals
from .att_kl_learn import AttentionKL, AttentionKLConfig
from .transfer import HiddenTransfer


@register_criterion("att_kl_hidden_mse", dataclass=AttentionKLConfig)
class AttentionKLHiddenMSE(AttentionKL):
    """Attention KL and hidden MSE, 1:1 (Sun et al., MobileBERT, ACL 2020)."""

    def __init__(self, cfg: AttentionKLConfig, task: Any) -> None:
        super().__init__(cfg, task)
        self.hidden = self.use(HiddenTransfer, cfg.mapping)

    def terms(self, student: Signals, teacher: Signals) -> Mapping[str, Tensor]:
        hidden = self.hidden.all_tokens(student, teacher, hidden_mse)
        return {**super().terms(student, teacher), "hidden": hidden}
