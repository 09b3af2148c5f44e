"""Small models, their optimizer under each of fairseq's precision wrappers, and updates as the trainer makes them."""

import torch
from fairseq import optim
from fairseq.optim import FP16Optimizer, MemoryEfficientFP16Optimizer
from omegaconf import OmegaConf
from torch import nn

from fairseq_kd.optim import AdamWFused, GroupOptions, drop_frozen_gradients, set_group

LR = 1e-2


def config(*, fp16=False, bf16=False, scale_window=2, **options):
    precision = {"fp16": fp16, "bf16": bf16, "fp16_no_flatten_grads": True}
    optimizer = {"_name": "adamw_fused", "adam_betas": "(0.9, 0.98)", "adam_eps": 1e-6, "weight_decay": 0.1,
                 "no_decay_norm_and_bias": False, "lr": [LR], "amp": False, "memory_efficient_fp16": False}  # fmt: skip
    common = {"fp16_scale_window": scale_window, "fp16_scale_tolerance": 0.0, "fp16_init_scale": 4,
              "threshold_loss_scale": None, "min_loss_scale": 1e-4, "model_parallel_size": 1}  # fmt: skip
    return OmegaConf.create(
        {
            "optimizer": optimizer | precision | options,
            "common": common | precision,
            "optimization": {"update_freq": [1]},
            "distributed_training": {"distributed_world_size": 1},
        }
    )


def model(dtype=torch.float32):
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(4, 5), nn.LayerNorm(5), nn.Linear(5, 3)).to(dtype)


def plain(parameters, **options) -> AdamWFused:
    return optim.build_optimizer(config(**options).optimizer, list(parameters))


def set_gradients(parameters, update, scale=1.0):
    """Give every trained parameter a gradient, the same in every run."""
    generator = torch.Generator().manual_seed(update)
    for parameter in parameters:
        gradient = torch.randn(parameter.shape, generator=generator)
        parameter.grad = (scale * gradient).to(parameter.dtype) if parameter.requires_grad else None


def weights(module):
    return [parameter.detach().clone() for parameter in module.parameters()]


def half(wrapper, dtype):
    def build(module, **options):
        cfg = config(fp16=dtype == torch.float16, bf16=dtype == torch.bfloat16, **options)
        return wrapper.build_optimizer(cfg, list(module.parameters()))

    return build


SETUPS = {
    "fp32": (torch.float32, lambda module, **options: plain(module.parameters(), **options)),
    "bf16": (torch.bfloat16, half(FP16Optimizer, torch.bfloat16)),
    "fp16": (torch.float16, half(FP16Optimizer, torch.float16)),
    "memory_efficient_bf16": (torch.bfloat16, half(MemoryEfficientFP16Optimizer, torch.bfloat16)),
    "memory_efficient_fp16": (torch.float16, half(MemoryEfficientFP16Optimizer, torch.float16)),
}


def grouped_model(dtype):
    module = model(dtype)
    set_group(module[0].parameters(), GroupOptions(lr=0.02, warmup_updates=2, total_updates=9, clip_norm=0.5))
    return module


def train(module, optimizer, updates):
    """Make updates as the trainer does: gradients of four sentences, scaled, then clipped."""
    for update in updates:
        optimizer.zero_grad()
        scaler = getattr(optimizer, "scaler", None)
        set_gradients(module.parameters(), update, scale=scaler.loss_scale if scaler else 1.0)
        optimizer._needs_sync = True  # as backward() of a wrapper sets it
        optimizer.multiply_grads(1 / 4)
        optimizer.clip_grad_norm(0.7)
        optimizer.set_lr(LR / (1 + update))
        drop_frozen_gradients(optimizer)
        optimizer.step()
