"""Precisions by the names used in flags, the student's autocast, and the speed of bf16 on this CPU."""

import contextlib
import functools
import time
from collections.abc import Mapping
from typing import Any

import torch

# Values of --bf16-products. `auto` is replaced at start-up (see `tasks/precision.py`).
BF16_PRODUCTS = ("auto", "bf16", "fp32")

# bf16 is slow if it takes more than this many times the time of fp32. CPUs with bf16 instructions need about the time of
# fp32 or less, those without 7 times and more. So a busy machine does not change the result.
SLOW = 2.0

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


@functools.cache
def cpu_bf16_ratio() -> float:
    """Return the time of a matrix product in bf16 over that in fp32, on this CPU.

    Below SLOW with bf16 instructions, and 7 or more without. Measured once, in milliseconds (without instructions, up to
    half a second).
    """
    factors = [torch.ones(256, 512), torch.ones(512, 512)]
    in_bf16 = [factor.bfloat16() for factor in factors]
    # In turns, and the shortest of several, because other programs use the CPU too. The first product also starts threads.
    times = [(_seconds(*factors), _seconds(*in_bf16)) for _ in range(4)][1:]
    fp32, bf16 = map(min, zip(*times, strict=True))
    return bf16 / fp32


def _seconds(left: torch.Tensor, right: torch.Tensor) -> float:
    begin = time.perf_counter()
    left @ right
    return time.perf_counter() - begin
