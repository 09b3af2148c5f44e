"""Random batches for the tests of the losses."""

import pytest
import torch
from torch import Tensor


@pytest.fixture
def random():
    """Return a function that draws normally distributed float64 tensors, the same in every run."""
    generator = torch.Generator().manual_seed(1)

    def draw(*shape: int) -> Tensor:
        return 2 * torch.randn(*shape, generator=generator, dtype=torch.float64)

    return draw
