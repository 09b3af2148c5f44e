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
