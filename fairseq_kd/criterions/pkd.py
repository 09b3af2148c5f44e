"""`--criterion pkd`: hidden states at position 0, layer by layer, below the top."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from fairseq.criterions import register_criterion
from fairseq.dataclass import ChoiceEnum
from torch import Tensor

from ..flags import flag
from ..layers import MAPPINGS
from ..losses import patience
from ..signals import Signals
from .config import IntermediateConfig
from .distillation import DistillationCriterion
from .transfer import HiddenTransfer


@dataclass
class PKDConfig(IntermediateConfig):
    mapping: str = flag(
        "pkd-skip", f"teacher state that each student state learns from: {MAPPINGS} (default: pkd-skip)"
    )
    inter_weight: float = flag(
        1.0,
        "beta of the paper, which tries 10, 100, 500 and 1000; its alpha is --soft-weight alpha --hard-weight "
        "1-alpha; 0 omits the term (default: 1.0)",
    )
    pkd_unnormalized: bool = flag(False, "compare the original states (default: states scaled to length 1)")
    pkd_kl: ChoiceEnum(["sum", "mean"]) = flag(
        "sum",
        "reduction over classes of the loss against the teacher's logits: sum, or mean, as in the authors' "
        "code, for which they chose alpha, temperature and beta (default: sum)",
    )


@register_criterion("pkd", dataclass=PKDConfig)
class PKD(DistillationCriterion):
    """Patience (Sun et al., Patient Knowledge Distillation, EMNLP 2019): mean over the pairs.

    The authors' students start from the first layers of the pre-trained model (`--init-from`).
    """

    resume_critical_fields = ("pkd_unnormalized", "pkd_kl")
    always_used_fields = ("pkd_kl",)

    def __init__(self, cfg: PKDConfig, task: Any) -> None:
        super().__init__(cfg, task)
        self.patience = self.use(HiddenTransfer, cfg.mapping, scope="cls")
        self.layer_loss = partial(patience, normalize=not cfg.pkd_unnormalized)

    def objective_terms(
        self, weights: Mapping[str, float], student: Signals, teacher: Signals, sample: Any
    ) -> dict[str, Tensor]:
        terms = super().objective_terms(weights, student, teacher, sample)
        if self.cfg.pkd_kl == "mean" and "soft" in terms:
            terms["soft"] = terms["soft"] / self.context.objective.classes
        return terms

    def terms(self, student: Signals, teacher: Signals) -> Mapping[str, Tensor]:
        total = self.patience.first_token(student, teacher, self.layer_loss)
        return {"patience": total / len(self.patience.pairs)}
