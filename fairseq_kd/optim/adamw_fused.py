"""`--optimizer adamw_fused`: fused AdamW with parameter groups and an exact resume in every precision.

Behaviour under each of fairseq's precision wrappers:

(none)                                   fp32 weights; groups, their clipping and resume are exact
--bf16, --fp16 --fp16-no-flatten-grads   fairseq keeps fp32 masters, but only this optimizer saves them
--memory-efficient-bf16, -fp16           this optimizer keeps the masters and saves them
--fp16 alone                             refused: one flat vector has no groups
--amp                                    refused: fairseq's wrapper divides by the loss scale twice

In the second and third case, fairseq's wrapper clips all gradients by one factor. So --clip-norm also
applies to groups that have their own clip norm.
"""

import ast
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, Optional

from fairseq.dataclass import FairseqDataclass
from fairseq.optim import FairseqOptimizer, register_optimizer
from omegaconf import II
from torch import Tensor
from torch.nn import Parameter

from ..errors import CannotStart
from ..flags import flag
from .grouped_adamw import GroupedAdamW


@dataclass
class AdamWFusedConfig(FairseqDataclass):
    """Flags of `--optimizer adamw_fused`."""

    # A string, as on the command line: a tuple cannot be written in a YAML config.
    adam_betas: Any = flag(
        "(0.9, 0.999)",
        "decay rates of the running averages of the gradient and its square (default: '(0.9, 0.999)')",
    )
    adam_eps: float = flag(1e-8, "added to the root of the averaged squared gradient (default: 1e-8)")
    weight_decay: float = flag(0.0, "decoupled weight decay, a factor of the learning rate (default: 0)")
    no_decay_norm_and_bias: bool = flag(
        False,
        "exclude biases and LayerNorms, also of gates, from --weight-decay (default: included, as in fairseq)",
    )
    lr: list[float] = II("optimization.lr")
    fp16: bool = II("common.fp16")
    bf16: bool = II("common.bf16")
    amp: bool = II("common.amp")
    fp16_no_flatten_grads: bool = II("common.fp16_no_flatten_grads")
    memory_efficient_fp16: bool = II("common.memory_efficient_fp16")


@register_optimizer("adamw_fused", dataclass=AdamWFusedConfig)
class AdamWFused(FairseqOptimizer):
    """AdamW (Loshchilov and Hutter, Decoupled Weight Decay Regularization, ICLR 2019).

    Differs from fairseq's `adam`: eps is added after the bias correction, as in the paper.
    """

    def __init__(self, cfg: AdamWFusedConfig, params: Collection[Parameter]) -> None:
        super().__init__(cfg)
        if cfg.fp16 and not (cfg.fp16_no_flatten_grads or cfg.memory_efficient_fp16):
            raise CannotStart(
                "--fp16 joins all weights into one vector, but --optimizer adamw_fused needs parameter groups: add "
                "--fp16-no-flatten-grads, or --memory-efficient-fp16."
            )
        if cfg.amp:
            raise CannotStart(
                "--amp lets fairseq divide the gradients by the loss scale twice: use --autocast bf16, --bf16, or --fp16 "
                "--fp16-no-flatten-grads."
            )
        self._optimizer = GroupedAdamW(
            params,
            **self.optimizer_config,
            decay_vectors=not cfg.no_decay_norm_and_bias,
            are_masters=cfg.fp16 or cfg.bf16,
        )

    @property
    def optimizer_config(self) -> dict[str, Any]:
        lr = self.cfg.lr
        return {
            "lr": lr[0] if isinstance(lr, Sequence) else lr,
            "betas": betas(self.cfg.adam_betas, "--adam-betas"),
            "eps": self.cfg.adam_eps,
            "weight_decay": self.cfg.weight_decay,
        }

    @property
    def params(self) -> list[Parameter]:
        """The weights, in the model's precision."""
        return self.optimizer.weights

    def multiply_grads(self, c: float | Tensor) -> None:
        self.optimizer.multiply_grads(c)

    def clip_grad_norm(
        self, max_norm: float, aggregate_norm_fn: Optional[Callable[[Tensor], Tensor]] = None
    ) -> Tensor:
        return self.optimizer.clip_grad_norm(max_norm, aggregate_norm_fn)

    def zero_grad(self) -> None:
        for weight in self.params:
            weight.grad = None


def betas(given: Any, flag: str) -> tuple[float, float]:
    """Parse a pair of decay rates: a string on the command line, a list in a config.

    Raises CannotStart, naming `flag`, if `given` is not a pair of numbers in [0, 1).
    """
    try:
        pair = ast.literal_eval(given) if isinstance(given, str) else given
        pair = tuple(float(beta) for beta in pair)
    except (SyntaxError, TypeError, ValueError):
        pair = ()
    if len(pair) != 2 or not all(0.0 <= beta < 1.0 for beta in pair):
        raise CannotStart(
            f"{flag} {given} is not a pair of decay rates: give two numbers in [0, 1), such as '(0.9, 0.999)'."
        )
    return pair
