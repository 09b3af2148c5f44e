"""`--criterion alp_kd`: hidden states, against a mixture of teacher layers that the student attends to."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from fairseq.criterions import register_criterion
from fairseq.dataclass import ChoiceEnum
from torch import Tensor

from ..losses import REACHES
from ..signals import Signals
from .config import OwnTermsConfig
from .distillation import DistillationCriterion
from .transfer import SCOPES, AttendedLayers


@dataclass
class ALPKDConfig(OwnTermsConfig):
    alp_scope: ChoiceEnum(SCOPES) = field(
        default="cls",
        metadata={
            "help": "what is compared: cls, the states at position 0; tokens, those of all tokens, each of which attends "
            "for itself (default: cls)"
        },
    )
    alp_reach: ChoiceEnum(list(REACHES)) = field(
        default="all",
        metadata={
            "help": "teacher layers that student layer k attends to: all; prefix, up to k L_t / L_s; buckets, those "
            "above the reach of layer k - 1 (ALP-NO); neighbours, the bucket and a layer on either side (ALP-PO) "
            "(default: all)"
        },
    )
    alp_detach: bool = field(
        default=False,
        metadata={"help": "no gradient through the attention (default: with gradient, as published)"},
    )


@register_criterion("alp_kd", dataclass=ALPKDConfig)
class ALPKD(DistillationCriterion):
    """Attention over the teacher's layers (Passban et al., ALP-KD, AAAI 2021); their mu is `--inter-weight`.

    Validation logs `alpha_K_L`, how much student layer K attends to teacher layer L, mean over sentences.
    """

    settled_by = ("alp_scope", "alp_reach", "alp_detach")

    def __init__(self, cfg: ALPKDConfig, task) -> None:
        super().__init__(cfg, task)
        self.hidden = self.use(AttendedLayers, cfg.alp_scope, cfg.alp_reach, cfg.alp_detach)

    def terms(self, student: Signals, teacher: Signals) -> Mapping[str, Tensor]:
        loss, attends = self.hidden(student, teacher)
        for layer, weights in attends.items():
            for number, each in zip(self.hidden.attention.reached[layer], weights.unbind(1), strict=True):
                self.observe(f"alpha_{layer}_{number}", each)
        return {"hidden": loss}
