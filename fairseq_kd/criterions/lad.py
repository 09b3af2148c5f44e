"""`--criterion lad`: hidden states, against teacher layers that gates aggregate."""

import functools
import logging
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Optional

from fairseq.criterions import register_criterion
from fairseq.dataclass import ChoiceEnum, FairseqDataclass
from fairseq.logging import metrics
from omegaconf import II
from torch import Tensor, nn

from ..flags import flag, flag_name
from ..layers import MAPPINGS
from ..losses import FORMS
from ..metrics import log_metrics
from ..optim import GroupOptions, betas, set_group
from ..signals import Signals
from .config import IntermediateConfig
from .distillation import DistillationCriterion
from .transfer import SCOPES, GatedLayers

logger = logging.getLogger(__name__)

# A `target_spread` below this is a collapse: the targets of all tokens are nearly equal.
COLLAPSED = 0.1


@dataclass
class GateFlags(FairseqDataclass):
    """Optimizer settings of the gates, which the paper trains at a far lower rate than the student."""

    gate_lr: Optional[float] = flag(
        None,
        "peak learning rate of the gates; --lr-scheduler does then not apply to them; the paper uses "
        "5e-7 to 3e-5 (default: that of the student)",
    )
    gate_warmup_updates: Optional[int] = flag(
        None, "with --gate-lr, number of updates in which the rate rises from 0 (default: 0, no warm-up)"
    )
    gate_total_updates: Optional[int] = flag(
        None, "with --gate-lr, number of updates after which the rate is 0 again (default: constant rate)"
    )
    gate_weight_decay: Optional[float] = flag(
        None,
        "weight decay of the gates, biases and LayerNorms included (default: --weight-decay and "
        "--no-decay-norm-and-bias)",
    )
    gate_clip_norm: Optional[float] = flag(
        None, "maximum gradient norm of each gate (default: --clip-norm, for gates and student together)"
    )
    # A string, as on the command line: see --adam-betas.
    gate_betas: Any = flag(None, "betas of the gates, such as '(0.9, 0.999)' (default: --adam-betas)")
    gate_eps: Optional[float] = flag(None, "epsilon of the gates (default: --adam-eps)")
    optimizer_name: str = II("optimizer._name")


FLAGS = {each.name: flag_name(each.name) for each in fields(GateFlags) if each.name.startswith("gate_")}


@dataclass
class LADConfig(IntermediateConfig, GateFlags):
    mapping: str = flag(
        "skip",
        f"teacher layer at which the aggregate of each student layer ends: {MAPPINGS}; the paper writes 12:6 "
        "for 6:12; the embedding pair is omitted (default: skip)",
    )
    lad_form: ChoiceEnum(list(FORMS)) = flag(
        "lad",
        "lad: gates aggregate from the first teacher layer up; reverse: from the last layer down; no: each "
        "gate mixes a paired layer with the layer below it, without recurrence (LAD-NO) (default: lad)",
    )
    lad_partial: Optional[int] = flag(
        None,
        "number of student layers, from the bottom, that learn aggregates; the others learn the paired teacher "
        "layers (Partial LAD) (default: all)",
    )
    lad_scope: ChoiceEnum(SCOPES) = flag(
        "tokens", "compared states: tokens for all tokens, cls for position 0 (default: tokens)"
    )
    lad_frozen: bool = flag(False, "keep the gates at their random initial values (default: trained)")


@register_criterion("lad", dataclass=LADConfig)
class LAD(DistillationCriterion):
    """Gated teacher layers (Lin et al., LAD, Sensors 2023). Their mu is `--inter-weight`.

    Training logs `gate_mean`, `target_norm` and `target_spread` (see GatedLayers) of a few sentences of each batch.
    Validation logs them for all sentences, and the mean of each gate.
    """

    resume_critical_fields = ("lad_form", "lad_partial", "lad_scope", "lad_frozen")

    def __init__(self, cfg: LADConfig, task: Any) -> None:
        super().__init__(cfg, task)
        self.hidden = self.use(GatedLayers, cfg.mapping, cfg.lad_form, cfg.lad_partial, cfg.lad_scope)
        if self.hidden is not None and not self.hidden.errors:
            if cfg.lad_frozen:
                self.hidden.gates.requires_grad_(False)
            else:
                self.errors += _group_gates(self.hidden.gates.gates, cfg)
        warn_of_collapse.cache_clear()

    def terms(self, student: Signals, teacher: Signals) -> Mapping[str, Tensor]:
        loss, observed = self.hidden(student, teacher)
        for name, each in observed.items():
            self.observe(name, each)
        return {"hidden": loss}

    @staticmethod
    def reduce_metrics(logging_outputs: list[dict[str, Any]]) -> None:
        """Log the loss, every term and metric, and `target_spread`; warn if the targets collapsed."""
        log_metrics(logging_outputs)
        if logging_outputs and "term__target_spread" in logging_outputs[0]:
            metrics.log_derived("target_spread", _target_spread)


def _target_spread(meters: Mapping[str, Any]) -> float:
    spread = round(float(meters["_target_spread"].avg), 5)
    if spread < COLLAPSED:
        warn_of_collapse()
    return spread


@functools.cache
def warn_of_collapse() -> None:
    """Log, once per run, that the learned targets have become nearly equal, from which the student learns nothing."""
    logger.warning(
        "the gates' outputs have become nearly equal for all tokens (target_spread below %g), so a low loss does "
        "not show that the student learns: give a lower --gate-lr, or --lad-frozen.",
        COLLAPSED,
    )


def _group_gates(gates: Iterable[nn.Module], cfg: GateFlags) -> list[str]:
    """Make each gate a parameter group of the optimizer; return error messages if that is impossible."""
    given = {name: getattr(cfg, name) for name in FLAGS if getattr(cfg, name) is not None}
    errors = list(_gate_flag_errors(given, cfg))
    if errors or not given:
        return errors
    options = {name.removeprefix("gate_"): value for name, value in given.items()}
    if "betas" in options:
        options["betas"] = betas(options["betas"], FLAGS["gate_betas"])
    for gate in gates:
        # One group per gate, because the gradient norm of each is clipped separately.
        set_group(gate.parameters(), GroupOptions(**options))
    return []


def _gate_flag_errors(given: dict[str, Any], cfg: GateFlags) -> Iterable[str]:
    if not given:
        return
    flags = ", ".join(FLAGS[name] for name in given)
    if cfg.optimizer_name != "adamw_fused":
        yield f"{flags} need parameter groups, which --optimizer {cfg.optimizer_name} does not have: use adamw_fused."
    needs_lr = [FLAGS[name] for name in ("gate_warmup_updates", "gate_total_updates") if name in given]
    if needs_lr and "gate_lr" not in given:
        yield f"{', '.join(needs_lr)} without --gate-lr: the gates then have the student's rate; give --gate-lr, too."
    for name, value in given.items():
        may_be_0 = name in ("gate_warmup_updates", "gate_weight_decay")
        # Written so that nan is out of range.
        if name != "gate_betas" and (not 0 <= value < math.inf or value == 0 and not may_be_0):
            yield f"{FLAGS[name]} {value} is out of range: give {'0 or more' if may_be_0 else 'a number above 0'}."
    warmup, total = given.get("gate_warmup_updates", 0), given.get("gate_total_updates")
    if total is not None and 0 < total <= warmup:
        yield (
            f"--gate-total-updates {total} is not above --gate-warmup-updates {warmup}: the rate rises before it falls, "
            "so give a larger total."
        )
