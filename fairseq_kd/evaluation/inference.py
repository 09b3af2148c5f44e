"""Computes logits with a trained model, in the precision of its run's validations."""

from collections.abc import Mapping
from typing import Any

import torch
from fairseq.data import Dictionary
from torch import Tensor

from ..models.checkpoint import Checkpoint
from ..precisions import PRECISIONS
from ..signals import Wanted
from ..teachers.live import frozen_model, move


class Inference:
    """A model on a device.

    The precision is that of the run's validations (`--autocast`, `--fp16`, `--bf16`; fp32 with --amp), so that scores
    equal the logged ones.

    checkpoint  with the classification head `head`
    dictionary  its vocabulary
    """

    def __init__(
        self, checkpoint: Checkpoint, dictionary: Dictionary, head: str, device: torch.device
    ) -> None:
        self.head, self.device, self.autocast = head, device, uses_autocast(checkpoint)
        model = frozen_model(checkpoint, dictionary, head, "--checkpoint")
        self.model = model.to(device, weights_dtype(checkpoint))

    @torch.inference_mode()
    def logits(self, net_input: Mapping[str, Any]) -> Tensor:
        """Return the logits of a batch, float32 [B, C] on the host.

        net_input  arguments of the model, as a collated batch has them
        """
        given = {name: move(value, self.device) for name, value in net_input.items()}
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.autocast):
            signals = self.model(**given, wanted=Wanted(logits=True), classification_head_name=self.head)
        return signals.logits.float().cpu()


def uses_autocast(checkpoint: Checkpoint) -> bool:
    """Return whether the run computed matrix products in bf16 (--autocast bf16)."""
    return (checkpoint.run.get("task") or {}).get("autocast") == "bf16"


def weights_dtype(checkpoint: Checkpoint) -> torch.dtype:
    """Return the type of the weights in the run; the --memory-efficient-... flags also set fp16 or bf16."""
    common = checkpoint.run.get("common") or {}
    return next((PRECISIONS[name] for name in ("fp16", "bf16") if common.get(name)), torch.float32)


def precision_of(checkpoint: Checkpoint) -> str:
    """Return the precision of inference: fp32, fp16, bf16 or autocast bf16."""
    if uses_autocast(checkpoint):
        return "autocast bf16"
    return next(name for name, dtype in PRECISIONS.items() if dtype == weights_dtype(checkpoint))
