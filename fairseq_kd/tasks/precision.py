"""Checks the flags that set the precision of student and teacher, and replaces bf16 where a CPU computes it slowly."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Optional

import torch
import torch.distributed as dist
from fairseq.dataclass import ChoiceEnum, FairseqDataclass
from omegaconf import II, DictConfig, OmegaConf

from ..flags import flag
from ..precisions import SLOW, cpu_bf16_ratio
from ..process_groups import gather_objects

logger = logging.getLogger(__name__)


@dataclass
class PrecisionFlags(FairseqDataclass):
    """Flags of the student's precision, also those of fairseq's `common` section."""

    autocast: ChoiceEnum(["none", "bf16"]) = flag(
        "none",
        "compute the student's matrix products in bf16, on CPU or GPU; weights, optimizer and losses stay in "
        "fp32 (default: none)",
    )
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
    """Return whether the student's matrix products are computed in 16 bits."""
    return cfg.autocast != "none" or any(getattr(cfg, name) for name in FLAGS)


def precision_error(cfg: PrecisionFlags) -> Optional[str]:
    """Return an error message if no run can train in this precision, else None. Warns about --fp16 on a CPU."""
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


def choose_bf16_products(cfg: DictConfig, saved: Optional[Mapping[str, Any]]) -> None:
    """Replace `auto` of --bf16-products by bf16 or fp32, and with fp32 --autocast bf16 by none.

    Every worker must call this. Both values are also set in the config that fairseq saves with the weights, so that
    evaluation uses them and a resumed run keeps them. Measures the speed of bf16 only if bf16 is requested on a CPU.

    cfg    config of the task
    saved  config of the task in the checkpoint that the run resumes from; None for a new run
    """
    on_cpu = cfg.cpu or not torch.cuda.is_available()
    teacher_on_cpu = on_cpu if cfg.teacher_device is None else str(cfg.teacher_device).startswith("cpu")
    on_device = {"--autocast bf16": on_cpu} if str(cfg.autocast) == "bf16" else {}
    if str(cfg.teacher_precision) == "bf16":
        on_device["--teacher-precision bf16"] = teacher_on_cpu
    flags = [name for name, is_cpu in on_device.items() if is_cpu]
    in_bf16 = cfg.bf16 and on_cpu
    ratio = _slowest(cpu_bf16_ratio()) if flags or in_bf16 else 0.0

    choice = str(cfg.bf16_products)
    if choice == "auto" and on_device:
        # Checkpoints of earlier versions lack the setting; their runs computed in bf16.
        choice = "auto" if saved is None else str(saved.get("bf16_products", "bf16"))
        if choice == "auto":
            choice = "fp32" if ratio > SLOW else "bf16"
    _set(cfg, bf16_products=choice, autocast="none" if choice == "fp32" else str(cfg.autocast))

    if ratio > SLOW:
        measured, names = f"bf16 takes {ratio:.1f} times as long as fp32 on this CPU", " and ".join(flags)
        if in_bf16:
            logger.warning(f"{measured}: training is faster without --bf16.")
        elif choice == "fp32":
            logger.warning(
                f"{measured}: the products of {names} are computed in fp32 (--bf16-products bf16 computes them in bf16)."
            )
        else:
            logger.warning(
                f"{measured}, and {names} computes products in bf16: new runs are faster with --bf16-products fp32."
            )


def _slowest(ratio: float) -> float:
    """Return the highest ratio of all workers, so that all compute in the same precision."""
    return max(gather_objects(ratio)) if dist.is_initialized() and dist.get_world_size() > 1 else ratio


def _set(cfg: DictConfig, **values: str) -> None:
    """Set values in the task's config, and in the whole config, which has a copy of it."""
    whole = cfg._get_parent()
    for name, value in values.items():
        cfg[name] = value
        if isinstance(whole, DictConfig):
            OmegaConf.update(whole, f"task.{name}", value)
