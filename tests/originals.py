"""Numbers recorded from the original implementations (see `golden/README.md`), and comparisons with them."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

REPOSITORY = Path(__file__).resolve().parents[1]


def golden_file(name: str) -> Path:
    """Return the file of one recorded case; skip the test, naming the case, if it does not exist.

    Those that every clone needs are in tests/golden, those that repeat what others show only beside the real
    data sets (see the fixture `real_data`).
    """
    given = os.environ.get("FAIRSEQ_KD_DATA")
    data = Path(given) if given else REPOSITORY.parent / "shared" / "data"
    for folder in (REPOSITORY / "tests" / "golden", data.resolve().parent / "golden"):
        if (folder / f"{name}.npz").is_file():
            return folder / f"{name}.npz"
    pytest.skip(f"needs the recorded numbers {name}.npz, beside the real data sets (FAIRSEQ_KD_DATA)")


def recorded(name: str) -> dict[str, Any]:
    """Return one recorded case: name -> float64 or integer tensor, string or number."""
    with np.load(golden_file(name)) as file:
        return {key: _value(file[key]) for key in file.files}


def _value(array: np.ndarray) -> Any:
    if array.ndim == 0 or array.dtype.kind == "U":
        return array.item()
    tensor = torch.from_numpy(array.copy())
    return tensor.double() if tensor.is_floating_point() else tensor


def check_original(
    d: dict[str, Any],
    each: Tensor,
    leaves: Sequence[str],
    weights: Tensor | float | None = None,
    alone: str | None = "out_each_sentence_alone",
    loss: str = "out_loss",
    rtol: float = 1e-9,
) -> None:
    """Assert that our numbers, the loss and its gradients are those of the original.

    each     [B], computed from the inputs in `d`
    leaves   names of the inputs that have gradients (`with_gradients`)
    weights  of the sentences in the original's loss; by default, it is their mean
    alone    name of the original's number of each sentence alone; None if it depends on the batch
    """
    assert (each.shape, each.dtype) == ((3,), torch.float64)
    if alone:
        assert_close(each.detach(), d[alone], rtol=rtol, atol=0)
    total = each.mean() if weights is None else (each * weights).sum()
    assert total.item() == pytest.approx(d[loss], rel=rtol)
    for name, found in zip(leaves, torch.autograd.grad(total, [d[f"in_{n}"] for n in leaves]), strict=True):
        expected = d[f"grad_{name}"]
        assert_close(found, expected, rtol=0, atol=rtol * expected.abs().max().item())


def with_gradients(d: dict[str, Any], *names: str) -> dict[str, Any]:
    """Let these inputs require gradients; return the case."""
    for name in names:
        d[f"in_{name}"].requires_grad_()
    return d
