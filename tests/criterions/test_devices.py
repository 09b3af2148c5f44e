"""No criterion reads its tensors back to the host in a training step, or computes anywhere but beside the student.

Told without a GPU: tensors on the device `meta` have shapes and no numbers. What asks for a number fails, as does
most of what mixes them with tensors elsewhere.
"""

import contextlib
from collections.abc import Mapping
from typing import Any

import pytest
import torch

from fairseq_kd.describe import describe
from fairseq_kd.objectives import sentence_labels
from tests.tiny import batch, build, write_teacher, write_text

CRITERIONS = list(describe()["criterions"])


@pytest.fixture(autouse=True)
def without_autocast(monkeypatch) -> None:
    """Which the device does not have."""
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: contextlib.nullcontext())


def moved(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.to("meta")
    return {name: moved(one) for name, one in value.items()} if isinstance(value, Mapping) else value


def step(task, student, criterion, sample) -> None:
    """Forward and backward on the device."""
    student.to("meta"), criterion.to("meta")
    if task.teacher is not None:
        task.teacher.model.to("meta")
    loss, _, logged = criterion(student, moved(sample))
    loss.backward()
    tensors = [loss, *(value for value in logged.values() if isinstance(value, torch.Tensor))]
    trained = [p for part in (student, criterion) for p in part.parameters() if p.grad is not None]
    assert len(trained) > 10
    assert {value.device.type for value in (*tensors, *(p.grad for p in trained))} == {"meta"}


@pytest.mark.slow
@pytest.mark.parametrize("method", CRITERIONS)
def test_sentences(data, teacher, method):
    task, student, criterion = build(data, teacher, method)
    step(task, student, criterion, batch(task, [0, 1, 2], "train"))


@pytest.mark.slow
@pytest.mark.parametrize("method", ["kd", "hidden_mse_token", "minilm", "att_kl_learn"])
def test_running_text(tmp_path, method):
    text = write_text(tmp_path / "text")
    teacher = write_teacher(tmp_path / "model.pt", classes=None, lm_head=True)
    task = {"tokens_per_sample": 24}
    task, student, criterion = build(
        text, teacher, method, task=task, task_name="masked_lm_kd", hard_weight=1.0
    )
    step(task, student, criterion, batch(task, [0, 1, 2], "train"))


def test_a_number_that_is_read_and_a_tensor_elsewhere_fail(data, teacher, monkeypatch):
    task, student, criterion = build(data, teacher, "kd")
    sample, kd = batch(task, [0, 1, 2], "train"), sentence_labels.kd
    for change in (lambda loss: loss * loss.max().item(), lambda loss: loss + torch.ones(3)):
        monkeypatch.setattr(sentence_labels, "kd", lambda *args, change=change: change(kd(*args)))
        with pytest.raises(RuntimeError, match="meta"):
            step(task, student, criterion, sample)
