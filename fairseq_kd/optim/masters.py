"""Where the fp32 values of 16-bit weights are."""

from collections.abc import Mapping

from fairseq.optim import FairseqOptimizer
from torch import Tensor
from torch.nn import Parameter


def in_full_precision(weights: Mapping[str, Parameter], optimizer: FairseqOptimizer) -> dict[str, Tensor]:
    """The weights by name: of those that have an fp32 master, that.

    Masters are kept by fairseq's wrapper (--bf16, --fp16, with or without --fp16-no-flatten-grads) or by our
    optimizer (--memory-efficient-bf16, -fp16).
    """
    pairs = list(getattr(optimizer.optimizer, "narrow", ()))
    if hasattr(optimizer, "fp16_params"):
        pairs += zip(optimizer.fp16_params, _wrapper_masters(optimizer), strict=True)
    masters = {id(weight): master for weight, master in pairs}
    return {name: masters.get(id(weight), weight) for name, weight in weights.items()}


def _wrapper_masters(optimizer: FairseqOptimizer) -> list[Tensor]:
    """One for each weight, in the weights' shapes; of the one flat vector of plain --fp16, views."""
    if not getattr(optimizer, "has_flat_params", False):
        return list(optimizer.fp32_params)
    (flat,) = optimizer.fp32_params.values()
    pieces = flat.detach().split([weight.numel() for weight in optimizer.fp16_params])
    return [piece.view_as(weight) for piece, weight in zip(pieces, optimizer.fp16_params, strict=True)]
