"""Access to the fp32 master weights that fairseq's wrapper or `adamw_fused` keeps for 16-bit weights."""

from collections.abc import Iterable, Mapping

from fairseq.optim import FairseqOptimizer
from torch import Tensor
from torch.nn import Parameter


def in_full_precision(weights: Mapping[str, Parameter], optimizer: FairseqOptimizer) -> dict[str, Tensor]:
    """Return name -> fp32 master for each weight that has one, else the weight.

    fairseq's wrapper keeps the masters for --bf16 and --fp16, with or without --fp16-no-flatten-grads.
    `adamw_fused` keeps them for --memory-efficient-bf16 and --memory-efficient-fp16.
    """
    pairs = [*getattr(optimizer.optimizer, "half_precision", ()), *_wrapped(optimizer)]
    masters = {id(weight): master for weight, master in pairs}
    return {name: masters.get(id(weight), weight) for name, weight in weights.items()}


def drop_frozen_gradients(optimizer: FairseqOptimizer) -> None:
    """Remove the gradients of fp32 masters whose weights are frozen; call just before a step.

    fairseq's wrapper gives these masters gradients of 0. The optimizer would then apply weight decay and
    count an update.
    """
    # One flat vector has one gradient. --two-stage refuses --fp16 alone for this reason.
    if not getattr(optimizer, "has_flat_params", False):
        for weight, master in _wrapped(optimizer):
            if not weight.requires_grad:
                master.grad = None


def _wrapped(optimizer: FairseqOptimizer) -> Iterable[tuple[Parameter, Tensor]]:
    """Return (weight, master) pairs of fairseq's wrapper; with plain --fp16, masters are views of its flat vector.

    Returns no pairs without a wrapper, or if the wrapper keeps no masters.
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
