"""`--criterion minilm`: attention distributions and relations among values."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fairseq.criterions import register_criterion
from torch import Tensor

from ..flags import flag
from ..layers import MAPPINGS
from ..signals import Signals
from .att_kl_learn import AttentionKL, AttentionKLConfig
from .transfer import RelationTransfer


@dataclass
class MiniLMConfig(AttentionKLConfig):
    mapping: str = flag(
        "last",
        f"teacher layer that each student layer learns from: {MAPPINGS}; the paper compares the last layers, "
        "the released code of Wang et al., 2023, also skip (default: last)",
    )


@register_criterion("minilm", dataclass=MiniLMConfig)
class MiniLM(AttentionKL):
    """Attention KL and value-relation KL, 1:1 (Wang et al., MiniLM, NeurIPS 2020)."""

    def __init__(self, cfg: MiniLMConfig, task: Any) -> None:
        super().__init__(cfg, task)
        self.value = self.use(RelationTransfer, cfg.mapping)

    def terms(self, student: Signals, teacher: Signals) -> Mapping[str, Tensor]:
        value = self.value.relations(student.values, teacher.values, student.mask)
        return {**super().terms(student, teacher), "value": value}
