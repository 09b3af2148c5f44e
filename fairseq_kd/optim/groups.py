"""Optimizer options of a set of parameters: learning rate, weight decay, clipping, warm-up.

A criterion with learned parameters marks them once, when it is built:

    set_group(self.gates.parameters(), GroupOptions(lr=5e-7, clip_norm=1.0, warmup_updates=1000))

The mark is an attribute of each parameter, because fairseq passes a plain list to its optimizers. The
attribute is `param_group`, because fairseq copies it to its fp32 masters.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from torch.nn import Parameter


@dataclass(frozen=True, eq=False)
class GroupOptions:
    """Options of a set of parameters, which are marked with the same object. None = value of the command line.

    lr_scale        factor of the learning rate
    lr              peak learning rate, instead of --lr
    weight_decay    instead of --weight-decay; also applies to biases and LayerNorms
    betas, eps      instead of --adam-betas, --adam-eps
    clip_norm       limit of the set's gradient norm; --clip-norm then ignores the set
    warmup_updates  linear warm-up from 0, in updates
    total_updates   linear decay to 0 after this many updates, counted from the start

    Only updates in which the set has a gradient count.

    A set with its own lr, warm-up or decay does not follow the lr scheduler. Between warm-up and decay,
    its learning rate is constant at the peak.
    """

    lr_scale: float = 1.0
    lr: float | None = None
    weight_decay: float | None = None
    betas: tuple[float, float] | None = None
    eps: float | None = None
    clip_norm: float | None = None
    warmup_updates: int = 0
    total_updates: int | None = None

    def __post_init__(self) -> None:
        if self.total_updates is not None and self.total_updates <= self.warmup_updates:
            raise ValueError(
                f"total_updates {self.total_updates} is not above warmup_updates {self.warmup_updates}: "
                "the decay begins after the warm-up, so give more updates in total."
            )

    @property
    def follows_scheduler(self) -> bool:
        """Whether the lr scheduler sets the learning rate."""
        return self.lr is None and self.warmup_updates == 0 and self.total_updates is None


def set_group(parameters: Iterable[Parameter], options: GroupOptions) -> None:
    """Mark the parameters as one set with these options."""
    for parameter in parameters:
        parameter.param_group = options


def make_groups(
    parameters: Iterable[Parameter], defaults: dict[str, Any], decay_vectors: bool
) -> list[dict[str, Any]]:
    """Return groups for `torch.optim`, ordered by their first parameter: one or two per set.

    A set has two groups if only a part of it has weight decay.

    defaults       lr, betas, eps and weight_decay of the command line
    decay_vectors  False excludes biases and LayerNorms from weight decay, unless their set has its own
    """
    groups: dict[tuple[int, float], dict[str, Any]] = {}
    sets: dict[int, int] = {}
    for parameter in parameters:
        options = getattr(parameter, "param_group", None) or UNMARKED
        decay = defaults["weight_decay"]
        if options.weight_decay is not None:
            decay = options.weight_decay
        elif parameter.dim() < 2 and not decay_vectors:
            decay = 0.0

        number = sets.setdefault(id(options), len(sets))
        group = groups.setdefault((number, decay), _group(options, defaults, decay) | {"set": number})
        group["params"].append(parameter)
    return list(groups.values())


def clipped_sets(groups: Iterable[dict[str, Any]]) -> Iterable[tuple[float, list[Parameter]]]:
    """Return (clip norm, parameters) of each set that has its own clip norm; a set may span two groups."""
    sets: dict[int, tuple[float, list[Parameter]]] = {}
    for group in groups:
        if group["clip_norm"] is not None:
            sets.setdefault(group["set"], (group["clip_norm"], []))[1].extend(group["params"])
    return sets.values()


def learning_rate(group: dict[str, Any]) -> float:
    """Return the learning rate of a group's next update; `group["lr"]` is the scheduler's."""
    if group["peak"] is None:
        return group["lr"] * group["lr_scale"]

    done, warmup, total = group["updates"], group["warmup_updates"], group["total_updates"]
    if done < warmup:
        return group["peak"] * done / warmup
    if total is None:
        return group["peak"]
    return group["peak"] * max(0.0, (total - done) / (total - warmup))


UNMARKED = GroupOptions()


def _group(options: GroupOptions, defaults: dict[str, Any], decay: float) -> dict[str, Any]:
    peak = None
    if not options.follows_scheduler:
        peak = (defaults["lr"] if options.lr is None else options.lr) * options.lr_scale
    return {
        "params": [],
        "lr": defaults["lr"],
        "betas": defaults["betas"] if options.betas is None else options.betas,
        "eps": defaults["eps"] if options.eps is None else options.eps,
        "weight_decay": decay,
        "lr_scale": options.lr_scale,
        "peak": peak,
        "warmup_updates": options.warmup_updates,
        "total_updates": options.total_updates,
        "clip_norm": options.clip_norm,
        "updates": 0,
    }
