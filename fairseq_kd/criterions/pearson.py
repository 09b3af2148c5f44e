"""`--criterion pearson`: correlation between attention distributions."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fairseq.criterions import register_criterion
from torch import Tensor

from ..flags import flag
from ..layers import MAPPINGS
from ..losses import pearson_attention
from ..signals import Signals
from .config import IntermediateConfig
from .distillation import DistillationCriterion
from .transfer import AttentionTransfer


@dataclass
class PearsonConfig(IntermediateConfig):
    mapping: str = flag(
        "last",
        f"teacher layer that each student layer learns from: {MAPPINGS}; the released code of Wang et al., "
        "2023 compares the last ones (default: last)",
    )


@register_criterion("pearson", dataclass=PearsonConfig)
class Pearson(DistillationCriterion):
    """1 - correlation of attention along keys, queries, heads and the batch (Wang et al., ACL 2023, code).

    The batch direction makes a sentence's loss depend on its neighbours (see `losses/pearson.py`).
    """

    def __init__(self, cfg: PearsonConfig, task: Any) -> None:
        super().__init__(cfg, task)
        self.attention = self.use(AttentionTransfer, cfg.mapping)

    def terms(self, student: Signals, teacher: Signals) -> Mapping[str, Tensor]:
        return {"attention": self.attention.scores(student, teacher, pearson_attention)}
