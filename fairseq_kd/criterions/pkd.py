"""`--criterion pkd`: hidden states at position 0, layer by layer, below the top."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from fairseq.criterions import register_criterion
from fairseq.dataclass import ChoiceEnum
from torch import Tensor

from ..layers import MAPPINGS
from ..losses import patience
from ..signals import Signals
from ..unused_flags import unused
from .config import IntermediateConfig
from .distillation import DistillationCriterion
from .transfer import HiddenTransfer


@dataclass
class PKDConfig(IntermediateConfig):
    mapping: str = field(
        default="pkd-skip",
        metadata={
            "help": f"which teacher state each student state learns from: {MAPPINGS} (default: pkd-skip)"
        },
    )
    inter_weight: float = field(
        default=1.0,
        metadata={
            "help": "beta of the paper, which tries 10, 100, 500 and 1000; its alpha is --soft-weight alpha --hard-weight "
            "1-alpha; 0 leaves the term out (default: 1.0)"
        },
    )
    pkd_unnormalized: bool = field(
        default=False,
        metadata={"help": "compare states as they are (default: each scaled to length 1)"},
    )
    pkd_kl: ChoiceEnum(["sum", "mean"]) = field(
        default="sum",
        metadata={
            "help": "over classes, the loss against the teacher's logits is a sum, or a mean as in the authors' code, to "
            "which their alpha, temperature and beta belong (default: sum)"
        },
    )


@register_criterion("pkd", dataclass=PKDConfig)
class PKD(DistillationCriterion):
    """Patience (Sun et al., Patient Knowledge Distillation, EMNLP 2019): mean over the pairs.

    The authors' students start from the first layers of the pre-trained model (`--init-from`).
    """

    settled_by = ("pkd_unnormalized", "pkd_kl")
    beside_terms = ("pkd_kl",)

    def __init__(self, cfg: PKDConfig, task) -> None:
        super().__init__(cfg, task)
        self.patience = self.use(HiddenTransfer, cfg.mapping, scope="cls")
        self.of_one_layer = partial(patience, normalize=not cfg.pkd_unnormalized)
        if cfg.pkd_kl == "mean" and task.regression:
            self.unused += unused(["--pkd-kl mean"], f"{task.cfg.data} has scores, not classes")

    def objective_terms(self, weights, student: Signals, teacher: Signals, sample: Any) -> dict[str, Tensor]:
        terms = super().objective_terms(weights, student, teacher, sample)
        if self.cfg.pkd_kl == "mean" and "soft" in terms:
            classes = len(self.task.dictionary) if student.logits is None else student.logits.size(-1)
            terms["soft"] = terms["soft"] / classes
        return terms

    def terms(self, student: Signals, teacher: Signals) -> Mapping[str, Tensor]:
        total = self.patience.first_token(student, teacher, self.of_one_layer)
        return {"patience": total / len(self.patience.pairs)}
