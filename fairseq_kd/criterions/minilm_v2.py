"""`--criterion minilm_v2`: relations among queries, keys and values."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Optional

from fairseq.criterions import register_criterion
from torch import Tensor

from ..flags import flag
from ..layers import MAPPINGS
from ..signals import Signals
from .config import IntermediateConfig
from .distillation import DistillationCriterion
from .transfer import RelationTransfer


@dataclass
class MiniLMv2Config(IntermediateConfig):
    mapping: str = flag(
        "last",
        f"teacher layer that each student layer learns from: {MAPPINGS}; the paper pairs the student's last "
        "layer with an upper one of a large teacher, such as 6:21 (default: last)",
    )
    relation_heads: Optional[int] = flag(
        None,
        "number of relation heads into which queries, keys and values are split; it must divide both widths, "
        "which may differ, such as the paper's 48 (default: the attention heads, equally many in both models)",
    )


@register_criterion("minilm_v2", dataclass=MiniLMv2Config)
class MiniLMv2(DistillationCriterion):
    """KL of query, key and value relations, 1:1:1 (Wang et al., MiniLMv2, Findings of ACL 2021)."""

    resume_critical_fields = ("relation_heads",)

    def __init__(self, cfg: MiniLMv2Config, task: Any) -> None:
        super().__init__(cfg, task)
        self.relation = self.use(RelationTransfer, cfg.mapping, cfg.relation_heads)

    def metric_names(self) -> set[str]:
        names = super().metric_names()
        return names - {"relation"} | {"query", "key", "value"} if "relation" in names else names

    def terms(self, student: Signals, teacher: Signals) -> Mapping[str, Tensor]:
        sides = {
            "query": (student.queries, teacher.queries),
            "key": (student.keys, teacher.keys),
            "value": (student.values, teacher.values),
        }
        return {
            name: self.relation.relations(mine, theirs, student.mask)
            for name, (mine, theirs) in sides.items()
        }
