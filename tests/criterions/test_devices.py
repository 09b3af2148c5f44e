"""No criterion copies tensors between host and device in a training step, or computes anywhere but beside the student.

Such a copy waits for the device. With CUDA, torch reports it. Without, tensors on the device `meta` have shapes and no
numbers: reading a number fails, and so do most operations that mix them with tensors elsewhere.
"""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from fairseq_kd.describe import describe
from fairseq_kd.objectives import sentence_labels
from tests.tiny import batch, build, pretraining

CRITERIONS = list(describe()["criterions"])
DEVICES = ["meta", pytest.param("cuda", marks=pytest.mark.gpu)]


class NoCopies(TorchFunctionMode):
    """Raises if a tensor is copied from one device to another."""

    def __torch_function__(self, func, types, args=(), kwargs=None) -> Any:
        result = func(*args, **(kwargs or {}))
        if isinstance(result, Tensor) and func in (torch.tensor, torch.as_tensor, Tensor.to, Tensor.copy_):
            source = next((each for each in args[func is Tensor.copy_ :] if isinstance(each, Tensor)), None)
            there = torch.device("cpu") if source is None else source.device
            if there.type != result.device.type:
                raise RuntimeError(f"{func.__name__} copies from {there} to {result.device}")
        return result


@pytest.fixture(autouse=True)
def without_autocast_on_meta(monkeypatch) -> None:
    """Replace autocast on the device meta, which does not have it."""
    autocast = torch.autocast

    def replaced(device: str, *args: Any, **options: Any) -> contextlib.AbstractContextManager:
        return contextlib.nullcontext() if device == "meta" else autocast(device, *args, **options)

    monkeypatch.setattr(torch, "autocast", replaced)


@contextlib.contextmanager
def no_synchronisation(device: str) -> Iterator[None]:
    """Let every wait of the host for the device raise RuntimeError."""
    if device == "meta":
        with NoCopies():
            yield
        return
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


def moved(value: Any, device: str) -> Any:
    if isinstance(value, Tensor):
        return value.to(device)
    return {name: moved(one, device) for name, one in value.items()} if isinstance(value, Mapping) else value


def step(task, student, criterion, sample, device: str) -> None:
    """Forward and backward on the device, twice: the first step may move the teacher."""
    student.to(device), criterion.to(device)
    if device == "meta" and task.teacher is not None:
        task.teacher.model.to(device)
    if getattr(criterion, "sda", None) is not None:
        criterion.sda.push(dict(student.named_parameters()))
    sample = moved(sample, device)
    for context in (contextlib.nullcontext(), no_synchronisation(device)):
        with context:
            loss, _, logged = criterion(student, sample)
            loss.backward()
    tensors = [loss, *(value for value in logged.values() if isinstance(value, Tensor))]
    trained = [p for part in (student, criterion) for p in part.parameters() if p.grad is not None]
    assert len(trained) > 10
    assert {value.device.type for value in (*tensors, *(p.grad for p in trained))} == {device}


@pytest.mark.slow
@pytest.mark.parametrize("method", CRITERIONS)
@pytest.mark.parametrize("device", DEVICES)
def test_sentences(data, teacher, method, device):
    task, student, criterion = build(data, teacher, method)
    step(task, student, criterion, batch(task, [0, 1, 2], "train"), device)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["kd", "hidden_mse_token", "minilm", "att_kl_learn"])
@pytest.mark.parametrize("device", DEVICES)
def test_running_text(text, lm_teacher, method, device):
    task, student, criterion = pretraining(text, lm_teacher, method, hard_weight=1.0)
    step(task, student, criterion, batch(task, [0, 1, 2], "train"), device)


FAULTS = {
    "read": lambda loss: loss * loss.max().item(),
    "moved": lambda loss: loss + torch.tensor([1.0, 2.0, 3.0]).to(loss.device),
    "created": lambda loss: loss + torch.tensor([1.0, 2.0, 3.0], device=loss.device),
    "on the host": lambda loss: loss + torch.ones(3),
}


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_copy_and_a_tensor_on_the_host_fail(data, teacher, monkeypatch, device, fault):
    task, student, criterion = build(data, teacher, "kd")
    kd = sentence_labels.kd
    monkeypatch.setattr(sentence_labels, "kd", lambda *args: FAULTS[fault](kd(*args)))
    with pytest.raises(RuntimeError, match=r"meta|synchroniz|same device"):
        step(task, student, criterion, batch(task, [0, 1, 2], "train"), device)
