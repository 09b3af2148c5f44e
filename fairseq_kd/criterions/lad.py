"""`--criterion lad`: hidden states, against teacher layers that gates have aggregated."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Optional

from fairseq.criterions import register_criterion
from fairseq.dataclass import ChoiceEnum
from torch import Tensor

from ..layers import MAPPINGS
from ..losses import FORMS
from ..metrics import log_metrics
from ..signals import Signals
from ..unused_flags import given_flags, unused
from .collapse import forget_warning, watch
from .config import IntermediateConfig
from .distillation import DistillationCriterion
from .gate_flags import GateFlags, group_gates
from .transfer import SCOPES, GatedLayers


@dataclass
class LADConfig(IntermediateConfig, GateFlags):
    mapping: str = field(
        default="skip",
        metadata={
            "help": f"at which teacher layer ends what each student layer learns: {MAPPINGS}; the paper writes 12:6 for "
            "6:12; the embedding pair is left out (default: skip)"
        },
    )
    lad_form: ChoiceEnum(list(FORMS)) = field(
        default="lad",
        metadata={
            "help": "lad: gates aggregate from the first teacher layer up; reverse: from the last down; no: each "
            "mixes a paired layer with the one below it, without recurrence (LAD-NO) (default: lad)"
        },
    )
    lad_partial: Optional[int] = field(
        default=None,
        metadata={
            "help": "student layers, from the lowest, that learn through gates; the others learn the paired teacher "
            "layers as they are (Partial LAD) (default: all)"
        },
    )
    lad_scope: ChoiceEnum(SCOPES) = field(
        default="tokens",
        metadata={
            "help": "what is compared: the states of all tokens, or at position 0: cls (default: tokens)"
        },
    )
    lad_frozen: bool = field(
        default=False, metadata={"help": "leave the gates as they begin, at random (default: trained)"}
    )


@register_criterion("lad", dataclass=LADConfig)
class LAD(DistillationCriterion):
    """Gated teacher layers (Lin et al., LAD, Sensors 2023); their mu is `--inter-weight`.

    Logs `gate_mean`, `target_norm` and `target_spread` (see GatedLayers), of a few sentences of each batch;
    in validation of all, and each gate, too.
    """

    settled_by = ("lad_form", "lad_partial", "lad_scope", "lad_frozen")

    def __init__(self, cfg: LADConfig, task) -> None:
        super().__init__(cfg, task)
        self.hidden = self.use(GatedLayers, cfg.mapping, cfg.lad_form, cfg.lad_partial, cfg.lad_scope)
        if self.hidden is not None and not self.hidden.problems:
            if cfg.lad_frozen:
                self.hidden.gates.requires_grad_(False)
                self.unused += unused(given_flags(cfg, GateFlags), "--lad-frozen")
            else:
                self.problems += group_gates(self.hidden.gates.gates, cfg)
        forget_warning()

    def terms(self, student: Signals, teacher: Signals) -> Mapping[str, Tensor]:
        loss, observed = self.hidden(student, teacher)
        for name, each in observed.items():
            self.observe(name, each)
        return {"hidden": loss}

    @staticmethod
    def reduce_metrics(logging_outputs: list[dict[str, Any]]) -> None:
        """Logs as all methods do, and warns of a collapse."""
        log_metrics(logging_outputs)
        watch(logging_outputs)
