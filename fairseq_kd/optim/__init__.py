"""Optimizers: `--optimizer adamw_fused`, and what a parameter may ask of it (`set_group`)."""

from .adamw_fused import AdamWFused, betas
from .groups import GroupOptions, set_group
from .masters import in_full_precision, leave_idle

__all__ = ["AdamWFused", "GroupOptions", "betas", "in_full_precision", "leave_idle", "set_group"]
