"""Random batches and recorded numbers for the tests of the losses."""

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.originals import golden_file


@pytest.fixture
def golden():
    """Read one recorded case: `golden("kd", torch.float64)` -> name -> tensor, string or number."""

    def read(name: str, dtype: torch.dtype) -> dict:
        with np.load(golden_file(name)) as file:
            return {key: _value(file[key], dtype) for key in file.files}

    return read


def _value(array: np.ndarray, dtype: torch.dtype):
    if array.ndim == 0 or array.dtype.kind == "U":
        return array.item()
    tensor = torch.from_numpy(array.copy())
    return tensor.to(dtype) if tensor.is_floating_point() else tensor


@pytest.fixture
def random():
    """Return a function that draws normally distributed float64 tensors, the same in every run."""
    generator = torch.Generator().manual_seed(1)

    def draw(*shape: int) -> Tensor:
        return 2 * torch.randn(*shape, generator=generator, dtype=torch.float64)

    return draw
