"""Optimizers: `--optimizer adamw_fused`, and what a parameter may ask of it (`set_group`)."""

from .adamw_fused import AdamWFused, betas
from .groups import GroupOptions, set_group

__all__ = ["AdamWFused", "GroupOptions", "betas", "set_group"]
