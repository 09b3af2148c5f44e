"""`--criterion minilm_v2`: relations among queries, keys and values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Optional

from fairseq.criterions import register_criterion
from torch import Tensor

from ..layers import MAPPINGS
from ..signals import Signals
from .config import IntermediateConfig
from .distillation import DistillationCriterion
from .transfer import RelationTransfer


@dataclass
class MiniLMv2Config(IntermediateConfig):
    mapping: str = field(
        default="last",
        metadata={
            "help": f"which teacher layer each student layer learns from: {MAPPINGS}; the paper pairs the student's last "
            "layer with an upper one of a large teacher, such as 6:21 (default: last)"
        },
    )
    relation_heads: Optional[int] = field(
        default=None,
        metadata={
            "help": "heads that queries, keys and values are cut into before they are compared; a number that divides "
            "both widths, which may differ, such as the paper's 48 (default: the attention heads, as many on both sides)"
        },
    )


@register_criterion("minilm_v2", dataclass=MiniLMv2Config)
class MiniLMv2(DistillationCriterion):
    """KL of query, key and value relations, 1:1:1 (Wang et al., MiniLMv2, Findings of ACL 2021)."""

    settled_by = ("relation_heads",)

    def __init__(self, cfg: MiniLMv2Config, task) -> None:
        super().__init__(cfg, task)
        self.relation = self.use(RelationTransfer, cfg.mapping, cfg.relation_heads)

    def logged(self) -> set[str]:
        names = super().logged()
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
