"""What is odd about where a live teacher computes, and in what format, though it is allowed."""

import torch
import torch.distributed as dist

from ..process_groups import local_world_size
from .precision import GIVEN


def remarks(cfg, precision: str) -> list[str]:
    """One sentence each, none where all is usual; each worker has to call this.

    cfg        of the task, which has a `--teacher`
    precision  the teacher's
    """
    device = torch.device(cfg.teacher_device or ("cpu" if cfg.cpu else "cuda"))
    found = _shared(device) if device.index is not None else []
    if device.type == "cuda" and torch.cuda.is_available() and cfg.teacher_cache is None:
        found += _wider(cfg, precision)
    others = found and dist.is_initialized() and dist.get_rank() > 0
    return [] if others else found


def _shared(device: torch.device) -> list[str]:
    workers = local_world_size()
    if workers == 1:
        return []
    return [
        f"--teacher-device {device} is one GPU for the teachers of all {workers} workers of this machine: leave it out to "
        "have each beside its student, unless that GPU is free for them."
    ]


def _wider(cfg, precision: str) -> list[str]:
    narrow = cfg.autocast != "none" or any(getattr(cfg, name) for name in GIVEN)
    if not narrow or precision != "fp32":
        return []
    return [
        "the teacher computes in fp32 beside a student that computes in 16 bits, without a GPU's units for those: give "
        "--teacher-precision bf16 if its signals need not be exact."
    ]
