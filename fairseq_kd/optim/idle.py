"""Weights that are not trained at present, in fairseq's half-precision wrapper."""

from fairseq.optim import FairseqOptimizer


def leave_idle(optimizer: FairseqOptimizer) -> None:
    """Takes the gradient from the fp32 copies of weights that are not trained now, as these have none themselves.

    fairseq's wrapper gives its copies gradients of 0, with which the optimizer would decay them, and count
    an update. Told just before a step.
    """
    if not hasattr(optimizer, "fp16_params") or optimizer.has_flat_params:
        return
    for weight, copy in zip(optimizer.fp16_params, optimizer.fp32_params, strict=True):
        if not weight.requires_grad:
            copy.grad = None
