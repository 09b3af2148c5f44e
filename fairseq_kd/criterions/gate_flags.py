"""Flags of a group of the optimizer: gates, which want a rate far below the student's."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from typing import Any, Optional

from fairseq.dataclass import FairseqDataclass
from omegaconf import II
from torch import nn

from ..optim import GroupOptions, betas, set_group


@dataclass
class GateFlags(FairseqDataclass):
    gate_lr: Optional[float] = field(
        default=None,
        metadata={
            "help": "peak learning rate of the gates, which then follow no --lr-scheduler, but the next two flags; the "
            "paper's are 5e-7 to 3e-5 (default: that of the student)"
        },
    )
    gate_warmup_updates: Optional[int] = field(
        default=None,
        metadata={
            "help": "with --gate-lr, updates of the gates in which their rate rises from 0 (default: none, at once)"
        },
    )
    gate_total_updates: Optional[int] = field(
        default=None,
        metadata={
            "help": "with --gate-lr, updates of the gates after which it has fallen to 0 again (default: never falls)"
        },
    )
    gate_weight_decay: Optional[float] = field(
        default=None,
        metadata={
            "help": "weight decay of the gates, no unit, biases and LayerNorms among them (default: --weight-decay, as "
            "--no-decay-norm-and-bias says)"
        },
    )
    gate_clip_norm: Optional[float] = field(
        default=None,
        metadata={
            "help": "largest gradient norm of each gate by itself (default: --clip-norm, with the student)"
        },
    )
    # A string, as on the command line: see --adam-betas.
    gate_betas: Any = field(
        default=None, metadata={"help": "betas of the gates, such as '(0.9, 0.999)' (default: --adam-betas)"}
    )
    gate_eps: Optional[float] = field(
        default=None, metadata={"help": "epsilon of the gates (default: --adam-eps)"}
    )
    optimizer_name: str = II("optimizer._name")


FLAGS = {
    each.name: "--" + each.name.replace("_", "-")
    for each in fields(GateFlags)
    if each.name.startswith("gate_")
}


def group_gates(gates: Iterable[nn.Module], cfg: GateFlags) -> list[str]:
    """Make each gate a group of the optimizer; return the reasons why that is impossible."""
    given = {name: getattr(cfg, name) for name in FLAGS if getattr(cfg, name) is not None}
    problems = list(_problems(given, cfg))
    if problems:
        return problems
    for gate in gates if given else ():
        # A group each, because each is clipped by itself.
        options = {name.removeprefix("gate_"): value for name, value in given.items()}
        if "betas" in options:
            options["betas"] = betas(options["betas"], FLAGS["gate_betas"])
        set_group(gate.parameters(), GroupOptions(**options))
    return []


def _problems(given: dict[str, Any], cfg: GateFlags) -> Iterable[str]:
    if not given:
        return
    flags = ", ".join(FLAGS[name] for name in given)
    if cfg.optimizer_name != "adamw_fused":
        yield f"--optimizer {cfg.optimizer_name} has no groups, which {flags} would need: give adamw_fused."
    shape = [FLAGS[name] for name in ("gate_warmup_updates", "gate_total_updates") if name in given]
    if shape and "gate_lr" not in given:
        yield (
            f"{', '.join(shape)} shape{'' if shape[1:] else 's'} a rate of the gates' own, and they follow the student's: "
            "give --gate-lr, too."
        )
    for name, value in given.items():
        may_be_0 = name in ("gate_warmup_updates", "gate_weight_decay")
        # nan is in no range, and compares with nothing.
        if name != "gate_betas" and (not 0 <= value < math.inf or value == 0 and not may_be_0):
            yield f"{FLAGS[name]} {value} is out of range: give {'0 or more' if may_be_0 else 'a number above 0'}."
    warmup, total = given.get("gate_warmup_updates", 0), given.get("gate_total_updates")
    if total is not None and 0 < total <= warmup:
        yield (
            f"--gate-total-updates {total} is not above --gate-warmup-updates {warmup}: the rate falls after it has risen, "
            "so give more updates in total."
        )
