"""`--criterion crd`: contrastive representation distillation."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fairseq.criterions import register_criterion
from torch import Tensor

from ..errors import CannotStart
from ..signals import Signals
from .config import OwnTermsConfig
from .distillation import DistillationCriterion
from .transfer import ContrastiveTransfer


@dataclass
class CRDConfig(OwnTermsConfig):
    crd_feature_dim: int = field(
        default=128,
        metadata={
            "help": "dimensions in which both sides are compared and every training sentence is remembered, twice, at "
            "4 bytes each (default: 128 dimensions)"
        },
    )
    crd_negatives: int = field(
        default=100,
        metadata={
            "help": "sentences of another label that each sentence is told from (default: 100 sentences)"
        },
    )
    crd_temperature: float = field(
        default=0.07, metadata={"help": "divides the cosine of two features, no unit (default: 0.07)"}
    )
    crd_momentum: float = field(
        default=0.5,
        metadata={
            "help": "share of what is remembered of a sentence that stays when it is seen again, 0 up to 1 "
            "(default: 0.5)"
        },
    )


@register_criterion("crd", dataclass=CRDConfig)
class ContrastiveCriterion(DistillationCriterion):
    """All states at position 0, told from those of sentences of another label (Tian et al., CRD, ICLR 2020).

    In validation, where the banks hold none of the sentences, `crd` says how well each is told by the
    other model's own feature from the rest of its batch.
    """

    needs_classes = "contrasts sentences of different labels"
    settled_by = ("crd_feature_dim", "crd_negatives", "crd_temperature", "crd_momentum")

    def __init__(self, cfg: CRDConfig, task) -> None:
        super().__init__(cfg, task)
        self.crd = self.use(ContrastiveTransfer, cfg)

    def terms_of(self, sample: Mapping[str, Any], student: Signals, teacher: Signals) -> Mapping[str, Tensor]:
        return {"crd": self.crd(sample, student, teacher)}

    def load_state_dict(self, state: Mapping[str, Tensor], *args: Any, **kwargs: Any) -> Any:
        """As torch's. Raises CannotStart if the banks are those of another training set."""
        banks = state.get("crd.loss.student_bank")
        if banks is not None and self.crd is not None and len(banks) != len(self.crd.loss.student_bank):
            raise CannotStart(
                f"--criterion crd remembers {len(banks)} sentences of the run in the checkpoint, but the training data has "
                f"{len(self.crd.loss.student_bank)} now: resume with the same data, or give another --save-dir.",
                doing="resume",
            )
        return super().load_state_dict(state, *args, **kwargs)

    def labels_for(self) -> list[str]:
        return super().labels_for() + (["--inter-weight"] if self.inter_weight else [])
