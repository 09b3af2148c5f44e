"""`--criterion crd`: contrastive representation distillation."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fairseq.criterions import register_criterion
from torch import Tensor

from ..errors import CannotStart
from ..flags import flag
from ..signals import Signals
from .config import OwnTermsConfig
from .distillation import DistillationCriterion
from .transfer import ContrastiveTransfer


@dataclass
class CRDConfig(OwnTermsConfig):
    crd_feature_dim: int = flag(
        128,
        "dimensions of the compared features; the memory banks store two features of each training sentence, "
        "4 bytes per dimension (default: 128 dimensions)",
    )
    crd_negatives: int = flag(
        100, "negatives of each sentence: sentences of other labels (default: 100 sentences)"
    )
    crd_temperature: float = flag(0.07, "divisor of the cosine similarity of two features (default: 0.07)")
    crd_momentum: float = flag(
        0.5,
        "share of a stored feature that remains when its sentence is seen again, in [0, 1) (default: 0.5)",
    )


@register_criterion("crd", dataclass=CRDConfig)
class ContrastiveCriterion(DistillationCriterion):
    """Contrasts all states at position 0 with those of sentences of other labels (Tian et al., CRD, ICLR 2020).

    In validation, the negatives are the other sentences of the batch, because the banks do not have its sentences.
    """

    needs_classes = "contrasts sentences of different labels"
    resume_critical_fields = ("crd_feature_dim", "crd_negatives", "crd_temperature", "crd_momentum")

    def __init__(self, cfg: CRDConfig, task: Any) -> None:
        super().__init__(cfg, task)
        self.crd = self.use(ContrastiveTransfer, cfg)

    def batch_terms(
        self, sample: Mapping[str, Any], student: Signals, teacher: Signals
    ) -> Mapping[str, Tensor]:
        return {"crd": self.crd(sample, student, teacher)}

    def load_state_dict(self, state: Mapping[str, Tensor], *args: Any, **kwargs: Any) -> Any:
        """Load a state dict. Raises CannotStart if its memory banks are those of another training set."""
        banks = state.get("crd.loss.student_bank")
        if banks is not None and self.crd is not None and len(banks) != len(self.crd.loss.student_bank):
            raise CannotStart(
                f"the checkpoint of --criterion crd has memory banks of {len(banks)} sentences, but the training data has "
                f"{len(self.crd.loss.student_bank)}: resume with the same data, or give another --save-dir.",
                doing="resume",
            )
        return super().load_state_dict(state, *args, **kwargs)

    def label_flags(self) -> list[str]:
        return super().label_flags() + (["--inter-weight"] if self.inter_weight else [])
