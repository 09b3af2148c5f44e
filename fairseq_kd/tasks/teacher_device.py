"""Warnings about a device or precision that makes a live teacher slow."""

import torch
import torch.distributed as dist

from ..process_groups import local_world_size
from .precision import FLAGS


def warnings(cfg, precision: str) -> list[str]:
    """Return one sentence per warning, on rank 0 only; every worker must call this.

    cfg        the config of a task that has a `--teacher`
    precision  the precision of the teacher
    """
    device, found = torch.device(cfg.teacher_device or ("cpu" if cfg.cpu else "cuda")), []
    workers = 1 if device.index is None else local_world_size()
    if workers > 1:
        found.append(
            f"--teacher-device {device}: the teachers of all {workers} workers of this machine share one GPU; without the "
            "flag, each runs on the GPU of its student."
        )
    live_on_gpu = device.type == "cuda" and torch.cuda.is_available() and cfg.teacher_cache is None
    student_in_16_bits = cfg.autocast != "none" or any(getattr(cfg, name) for name in FLAGS)
    if live_on_gpu and student_in_16_bits and precision == "fp32":
        found.append(
            "the teacher computes in fp32 and the student in 16 bits: --teacher-precision bf16 is faster, with signals "
            "that are less exact."
        )
    return [] if found and dist.is_initialized() and dist.get_rank() > 0 else found
