"""The benchmark of the optimizer compares only optimizers with equal results."""

import math

import pytest
import torch
from torch.nn import Parameter

from benchmarks import optimizer


def test_an_optimizer_with_other_results_stops_the_benchmark():
    """The shapes are those of stock fairseq's student: a second copy of the matrices, embeddings and a head."""
    matrices = 4 * (384 * 384 + 384) + 2 * 384 * 1536 + 1536 + 384
    by_hand = (30522 + 514 + 2) * 384 + 3 * (2 * matrices + 4 * 384) + (384 + 1) * 384 + (384 + 1) * 2
    assert sum(math.prod(shape) for shape in optimizer.student_shapes()) == by_hand == 22_709_378
    same = [Parameter(torch.ones(2))]
    optimizer.check_equal({optimizer.OURS: same, "peer": [Parameter(torch.ones(2))]})
    with pytest.raises(SystemExit, match="peer"):
        optimizer.check_equal({optimizer.OURS: same, "peer": [Parameter(torch.zeros(2))]})
