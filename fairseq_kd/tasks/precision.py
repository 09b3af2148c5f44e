"""Which number formats of fairseq's can be had where a run trains."""

import logging
from dataclasses import dataclass
from typing import Optional

from fairseq.dataclass import FairseqDataclass
from omegaconf import II

logger = logging.getLogger(__name__)


@dataclass
class PrecisionFlags(FairseqDataclass):
    """What a task's config takes from fairseq's `common` section."""

    cpu: bool = II("common.cpu")
    fp16: bool = II("common.fp16")
    bf16: bool = II("common.bf16")
    amp: bool = II("common.amp")
    fp16_no_flatten_grads: bool = II("common.fp16_no_flatten_grads")
    memory_efficient_fp16: bool = II("common.memory_efficient_fp16")


# How a command gives each of these formats; fairseq's switches imply each other.
GIVEN = {
    "fp16": "--fp16 (or --memory-efficient-fp16)",
    "bf16": "--bf16 (or --memory-efficient-bf16)",
    "amp": "--amp",
}


def problem(cfg: PrecisionFlags) -> Optional[str]:
    """Why no run can train in these formats; None where it can. Warns of --fp16 on a CPU.

    cfg  has the task's own `autocast`, too
    """
    other = next((name for name in GIVEN if getattr(cfg, name)), None)
    if cfg.autocast != "none" and other is not None:
        return (
            f"--autocast {cfg.autocast} and {GIVEN[other]} say two formats for the student to compute in: leave one of the "
            "two out."
        )
    if not cfg.cpu:
        return None
    if cfg.bf16:
        return "--bf16 with --cpu takes fairseq's way for TPUs: give --autocast bf16 instead."
    if not cfg.fp16:
        return None
    if not (cfg.fp16_no_flatten_grads or cfg.memory_efficient_fp16):
        return (
            "--fp16 with --cpu joins all weights into one vector, which fairseq puts on a GPU: give --autocast bf16 "
            "instead, or add --fp16-no-flatten-grads."
        )
    logger.warning(
        "--fp16 with --cpu: fairseq goes on after a gradient that overflows on GPUs alone, and ends with an error of "
        "torch's here; --autocast bf16 needs no scale that could overflow."
    )
    return None
