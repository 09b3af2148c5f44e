"""`--criterion hsk`: hidden states, compressed in depth, length and width."""

from collections.abc import Mapping

from fairseq.criterions import register_criterion
from torch import Tensor

from ..signals import Signals
from .distillation import DistillationCriterion
from .hsk_flags import HSKConfig
from .transfer import CompressedStates


@register_criterion("hsk", dataclass=HSKConfig)
class HSK(DistillationCriterion):
    """Hidden-state knowledge (Liu et al., Marginal Utility Diminishes, ACL 2021): sum over the kept pairs.

    Their first stage is `--hard-weight 0 --soft-weight 0`; the second is `kd` with `--hard-weight 0 --soft-weight 1
    --temperature 1`, whose gradient is that of their soft cross entropy.
    """

    settled_by = ("hsk_keep", "hsk_length", "hsk_width", "hsk_ranking", "hsk_teacher_alone")

    def __init__(self, cfg: HSKConfig, task) -> None:
        super().__init__(cfg, task)
        self.hidden = self.use(
            CompressedStates,
            cfg.mapping,
            cfg.hsk_keep,
            cfg.hsk_length,
            cfg.hsk_width,
            cfg.hsk_ranking,
            cfg.hsk_teacher_alone,
        )

    def terms(self, student: Signals, teacher: Signals) -> Mapping[str, Tensor]:
        return {"hidden": self.hidden(student, teacher)}
