"""The optimizer `adamw_fused`, its parameter groups (`set_group`), and access to fp32 master weights."""

from .adamw_fused import AdamWFused, betas
from .fp32_params import drop_frozen_gradients, in_full_precision
from .groups import GroupOptions, set_group

__all__ = ["AdamWFused", "GroupOptions", "betas", "drop_frozen_gradients", "in_full_precision", "set_group"]
