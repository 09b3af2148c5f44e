"""Precisions by the names used in flags, and the student's autocast."""

import contextlib
from collections.abc import Mapping
from typing import Any

import torch

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def student_autocast(
    sample: Mapping[str, Any], autocast: str = "none"
) -> contextlib.AbstractContextManager[Any]:
    """Return a context manager with the student's precision for a batch.

    autocast  the value of `--autocast`: none or bf16
    """
    if autocast == "none":
        return contextlib.nullcontext()
    return torch.autocast(sample["net_input"]["src_tokens"].device.type, dtype=torch.bfloat16)
