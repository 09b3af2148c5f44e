"""Checks the flags that set the student's precision."""

import logging
from dataclasses import dataclass
from typing import Optional

from fairseq.dataclass import FairseqDataclass
from omegaconf import II

logger = logging.getLogger(__name__)


@dataclass
class PrecisionFlags(FairseqDataclass):
    """Flags of fairseq's `common` section that a task reads."""

    cpu: bool = II("common.cpu")
    fp16: bool = II("common.fp16")
    bf16: bool = II("common.bf16")
    amp: bool = II("common.amp")
    fp16_no_flatten_grads: bool = II("common.fp16_no_flatten_grads")
    memory_efficient_fp16: bool = II("common.memory_efficient_fp16")


# Field of fairseq's config -> the flags that set it.
FLAGS = {
    "fp16": "--fp16 (or --memory-efficient-fp16)",
    "bf16": "--bf16 (or --memory-efficient-bf16)",
    "amp": "--amp",
}


def in_16_bits(cfg: PrecisionFlags) -> bool:
    """Return whether the student's matrix products are computed in 16 bits. cfg also has `autocast`."""
    return cfg.autocast != "none" or any(getattr(cfg, name) for name in FLAGS)


def precision_error(cfg: PrecisionFlags) -> Optional[str]:
    """Return an error message if no run can train in this precision, else None. Warns about --fp16 on a CPU.

    cfg  also has `autocast`
    """
    other = next((name for name in FLAGS if getattr(cfg, name)), None)
    if cfg.autocast != "none" and other is not None:
        return f"--autocast {cfg.autocast} conflicts with {FLAGS[other]}: both set the student's precision, remove one."
    if cfg.cpu and cfg.bf16:
        return "--bf16 with --cpu uses fairseq's code for TPUs: use --autocast bf16 instead."
    if cfg.cpu and cfg.fp16:
        if not (cfg.fp16_no_flatten_grads or cfg.memory_efficient_fp16):
            return (
                "--fp16 with --cpu puts the flattened weights on a GPU: use --autocast bf16 instead, or add "
                "--fp16-no-flatten-grads."
            )
        logger.warning(
            "--fp16 with --cpu: training ends with an error of torch at the first gradient overflow; --autocast bf16 cannot "
            "overflow."
        )
    return None
