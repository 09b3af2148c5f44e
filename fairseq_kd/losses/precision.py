"""The precision in which losses are computed."""

import torch
from torch import Tensor


def at_least_float32(*tensors: Tensor) -> torch.dtype:
    """Return the widest dtype of the tensors, at least float32.

    tensors  floating-point tensors of any shapes; only their dtypes are used
    """
    dtype = torch.float32
    for tensor in tensors:
        dtype = torch.promote_types(dtype, tensor.dtype)
    return dtype


def lowest(scores: Tensor) -> float:
    """Return a score whose softmax probability is 0: half the smallest number of the dtype.

    It is finite, because 0 * log 0 must stay 0 in the KL.

    scores  any shape, such as [B, A, T, T]; only the dtype is used
    """
    return torch.finfo(scores.dtype).min / 2
