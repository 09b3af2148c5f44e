"""What a set of parameters may ask of the optimizer, apart from all others.

A criterion that learns something of its own marks it once, when it is built:

    set_group(self.gates.parameters(), GroupOptions(lr=5e-7, clip_norm=1.0, warmup_updates=1000))

The mark is an attribute of the parameters, because fairseq hands its optimizers a bare list. The
attribute is called `param_group`, the one that fairseq itself carries over to its fp32 copies.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from torch.nn import Parameter


@dataclass(frozen=True, eq=False)
class GroupOptions:
    """One set of parameters: those marked with the same object. None follows the command line.

    lr_scale        factor on the learning rate
    lr              own peak learning rate, instead of --lr
    weight_decay    instead of --weight-decay, of biases and LayerNorms, too
    betas, eps      instead of --adam-betas, --adam-eps
    clip_norm       own limit of the gradient norm; --clip-norm then neither counts nor clips these
    warmup_updates  own linear warm-up from 0
    total_updates   own linear decay, reaching 0 after so many updates

    Own updates are those in which the set has a gradient.

    A set with a rate, a warm-up or a decay of its own no longer follows the lr scheduler: it stays
    at its peak between the two.
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
                "the decay begins where the warm-up ends, so give more updates in total."
            )

    @property
    def follows_scheduler(self) -> bool:
        return self.lr is None and self.warmup_updates == 0 and self.total_updates is None


def set_group(parameters: Iterable[Parameter], options: GroupOptions) -> None:
    """Makes the parameters one set, apart from all others, with these options."""
    for parameter in parameters:
        parameter.param_group = options


def split(
    parameters: Iterable[Parameter], defaults: dict[str, Any], decay_vectors: bool
) -> list[dict[str, Any]]:
    """Groups for `torch.optim`, in the order in which their first parameters come: one a set, two where decay differs.

    defaults       lr, betas, eps and weight_decay of the command line
    decay_vectors  False leaves biases and LayerNorms without weight decay, unless their set has one of its own
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


def limited(groups: Iterable[dict[str, Any]]) -> Iterable[tuple[float, list[Parameter]]]:
    """The sets that have a limit of their own, whichever groups they are in: the limit, and their parameters."""
    sets: dict[int, tuple[float, list[Parameter]]] = {}
    for group in groups:
        if group["clip_norm"] is not None:
            sets.setdefault(group["set"], (group["clip_norm"], []))[1].extend(group["params"])
    return sets.values()


def rate(group: dict[str, Any]) -> float:
    """The learning rate of a group's next update; `group["lr"]` is the scheduler's."""
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
