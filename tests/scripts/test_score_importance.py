"""`scripts/score_importance.py`: importance is the sum over mini-batches."""

import pytest
import torch
from safetensors.torch import load_file
from torch.testing import assert_close

from fairseq_kd.models.pruning import scored_names
from scripts import score_importance
from tests.tiny import SHAPE, batch, build, write_teacher


@pytest.fixture
def model(tmp_path):
    return write_teacher(tmp_path / "teacher" / "model.pt")


def score(model, data, *flags) -> int:
    given = ["--checkpoint", str(model), "--data", str(data), "--cpu", *map(str, flags)]
    return score_importance.main(given)


@pytest.mark.slow
def test_importance_is_the_sum_over_mini_batches(model, data):
    assert score(model.parent, data, "--batch-size", 24) == 0
    found = load_file(model.parent / "importance.safetensors")
    assert set(found) == set(scored_names(SHAPE.layers))

    task, student, criterion = build(
        data, model, "kd", layers="all", model={"init_head": True}, hard_weight=1.0, soft_weight=0.0
    )
    order = torch.randperm(64, generator=torch.Generator().manual_seed(1))
    weights = dict(student.named_parameters())
    sums = {name: torch.zeros_like(weights[name]) for name in found}
    for indices in order.split(24):
        student.zero_grad()
        loss, size, _ = criterion(student, batch(task, indices.tolist(), "train"))
        (loss / size).backward()
        for name in sums:
            sums[name] += weights[name].grad.abs()
    for name, total in sums.items():
        assert_close(found[name], (total * weights[name]).abs().detach(), rtol=1e-4, atol=1e-7)
