"""Where the fp32 values of 16-bit weights are, as fairseq's half-precision wrapper or our optimizer keeps them."""

from collections.abc import Iterable, Mapping

from fairseq.optim import FairseqOptimizer
from torch import Tensor
from torch.nn import Parameter


def in_full_precision(weights: Mapping[str, Parameter], optimizer: FairseqOptimizer) -> dict[str, Tensor]:
    """The weights by name: of those that have an fp32 master, that.

    Masters are kept by fairseq's wrapper (--bf16, --fp16, with or without --fp16-no-flatten-grads) or by our
    optimizer (--memory-efficient-bf16, -fp16).
    """
    pairs = [*getattr(optimizer.optimizer, "narrow", ()), *_wrapped(optimizer)]
    masters = {id(weight): master for weight, master in pairs}
    return {name: masters.get(id(weight), weight) for name, weight in weights.items()}


def leave_idle(optimizer: FairseqOptimizer) -> None:
    """Takes the gradient from the fp32 masters of weights that are not trained now, as these have none themselves.

    fairseq's wrapper gives its masters gradients of 0, with which the optimizer would decay them, and count
    an update. Told just before a step.
    """
    # In one flat vector none can be idle: --two-stage refuses it.
    if not getattr(optimizer, "has_flat_params", False):
        for weight, master in _wrapped(optimizer):
            if not weight.requires_grad:
                master.grad = None


def _wrapped(optimizer: FairseqOptimizer) -> Iterable[tuple[Parameter, Tensor]]:
    """The weights in fairseq's wrapper and their masters; of the one flat vector of plain --fp16, views.

    Nothing where there is no wrapper, or one that keeps no masters.
    """
    weights = getattr(optimizer, "fp16_params", None)
    if weights is None:
        return ()
    masters = optimizer.fp32_params
    if optimizer.has_flat_params:
        (flat,) = masters.values()
        pieces = flat.detach().split([weight.numel() for weight in weights])
        masters = [piece.view_as(weight) for piece, weight in zip(pieces, weights, strict=True)]
    return zip(weights, masters, strict=True)
