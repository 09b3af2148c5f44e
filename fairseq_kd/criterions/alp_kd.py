"""`--criterion alp_kd`: hidden states, against teacher layers mixed by the student's attention."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fairseq.criterions import register_criterion
from fairseq.dataclass import ChoiceEnum
from torch import Tensor

from ..flags import flag
from ..losses import REACHES
from ..signals import Signals
from .config import OwnTermsConfig
from .distillation import DistillationCriterion
from .transfer import SCOPES, AttendedLayers


@dataclass
class ALPKDConfig(OwnTermsConfig):
    alp_scope: ChoiceEnum(SCOPES) = flag(
        "cls",
        "compared states: cls for position 0; tokens for all tokens, each with its own attention "
        "(default: cls)",
    )
    alp_reach: ChoiceEnum(list(REACHES)) = flag(
        "all",
        "teacher layers that student layer k attends to: all; prefix, up to k L_t / L_s; buckets, those "
        "of the prefix above the prefix of layer k - 1 (ALP-NO); neighbours, the bucket and one layer on either side "
        "(ALP-PO) (default: all)",
    )
    alp_detach: bool = flag(False, "no gradient through the attention (default: with gradient, as published)")


@register_criterion("alp_kd", dataclass=ALPKDConfig)
class ALPKD(DistillationCriterion):
    """Attention over the teacher's layers (Passban et al., ALP-KD, AAAI 2021). Their mu is `--inter-weight`.

    Validation logs `alpha_K_L`: the attention of student layer K to teacher layer L, mean over sentences.
    """

    resume_critical_fields = ("alp_scope", "alp_reach", "alp_detach")

    def __init__(self, cfg: ALPKDConfig, task: Any) -> None:
        super().__init__(cfg, task)
        self.hidden = self.use(AttendedLayers, cfg.alp_scope, cfg.alp_reach, cfg.alp_detach)

    def terms(self, student: Signals, teacher: Signals) -> Mapping[str, Tensor]:
        loss, attends = self.hidden(student, teacher)
        for layer, weights in attends.items():
            for number, each in zip(self.hidden.attention.reached[layer], weights.unbind(1), strict=True):
                self.observe(f"alpha_{layer}_{number}", each)
        return {"hidden": loss}
