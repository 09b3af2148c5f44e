"""Where the fp32 values of 16-bit weights are."""

from collections.abc import Mapping

from fairseq.optim import FairseqOptimizer
from torch import Tensor
from torch.nn import Parameter


def in_full_precision(weights: Mapping[str, Parameter], optimizer: FairseqOptimizer) -> dict[str, Tensor]:
    """The weights by name: of those that have an fp32 master, that.

    Masters are kept by fairseq's wrapper (--bf16, --fp16 --fp16-no-flatten-grads) or by our optimizer
    (--memory-efficient-bf16, -fp16). The one flat vector of plain --fp16 holds none of a weight's shape.
    """
    pairs = list(getattr(optimizer.optimizer, "narrow", ()))
    flat = getattr(optimizer, "has_flat_params", False)
    if hasattr(optimizer, "fp16_params") and not flat:
        pairs += zip(optimizer.fp16_params, optimizer.fp32_params, strict=True)
    masters = {id(weight): master for weight, master in pairs}
    return {name: masters.get(id(weight), weight) for name, weight in weights.items()}
