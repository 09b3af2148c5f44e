"""Training on a CUDA device: gradients, precisions, resuming and memory.

Each test also runs on the CPU, with the code of other devices where the CPU has its own. Waits of the host for the
device: see `criterions/test_devices.py`.
"""

import contextlib
import math
import sys
from collections.abc import Iterator
from dataclasses import replace
from statistics import mean
from typing import Any
from unittest import mock

import pytest
import torch
from fairseq.tasks import FairseqTask
from torch import Tensor
from torch.testing import assert_close

from fairseq_kd.describe import describe
from fairseq_kd.losses import contrastive, score_blocks
from fairseq_kd.models import dropout, unpad
from fairseq_kd.models.shape import ModelShape
from fairseq_kd.teachers.live import move
from tests.runs import check_same_weights, checkpoint, losses
from tests.tiny import batch, build, distil_command, train_here, write_data, write_teacher

CRITERIONS = list(describe()["criterions"])
CUDA = pytest.param("cuda", marks=pytest.mark.gpu)
DEVICES = ["cpu", CUDA]
UPDATES = 8  # of an epoch of `data` in batches of 8


@contextlib.contextmanager
def code_of_other_devices() -> Iterator[None]:
    """Let the CPU compute attention, its losses and dropout as other devices do."""
    packing = unpad.Packing.of
    with (
        mock.patch.object(unpad.Packing, "of", lambda *args: replace(packing(*args), lengths=None)),
        mock.patch.object(score_blocks, "CPU_BLOCK", sys.maxsize),
        mock.patch.object(dropout.Dropout, "forward", torch.nn.Dropout.forward),
    ):
        yield


@contextlib.contextmanager
def reproducible(device: str) -> Iterator[None]:
    """Let CUDA add in a fixed order; on a CPU, use the code of other devices."""
    if device == "cpu":
        with code_of_other_devices():
            yield
        return
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


@pytest.fixture
def draws_on_the_host(monkeypatch) -> None:
    """Let CRD draw the same negatives on each device."""

    def random_below(limit: Tensor) -> Tensor:
        return torch.randint(1 << 62, limit.shape).to(limit.device) % limit

    monkeypatch.setattr(contrastive, "_random_below", random_below)


def loss_and_gradients(device: str, *args: Any, **options: Any) -> tuple[Tensor, dict[str, Tensor]]:
    """Build a student and criterion on the CPU, and return the loss of a batch on the device, and its gradients."""
    torch.manual_seed(1)
    torch.set_float32_matmul_precision("highest")  # no TF32
    task, student, criterion = build(*args, **options)
    student.to(device), criterion.to(device)
    if getattr(criterion, "sda", None) is not None:
        criterion.sda.push({name: 0.9 * value for name, value in student.named_parameters()})
    torch.manual_seed(2)
    loss, *_ = criterion(student, move(batch(task, range(12), "train"), torch.device(device)))
    loss.backward()
    named = [*student.named_parameters(), *criterion.named_parameters(prefix="criterion")]
    return loss.detach().cpu(), {name: p.grad.cpu() for name, p in named if p.grad is not None}


def assert_equal_on(device: str, *args: Any, **options: Any) -> None:
    expected_loss, expected = loss_and_gradients("cpu", *args, **options)
    with reproducible(device):
        found_loss, found = loss_and_gradients(device, *args, **options)
    assert_close(found_loss, expected_loss, rtol=1e-5, atol=0)
    assert len(found) > 10
    largest = max(gradient.abs().max().item() for gradient in expected.values())
    assert_close(found, expected, rtol=1e-3, atol=1e-5 * largest)


@pytest.mark.usefixtures("draws_on_the_host")
@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("method", CRITERIONS)
def test_loss_and_gradients_of_sentences_are_those_of_the_cpu(data, teacher, method, device):
    assert_equal_on(device, data, teacher, method)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("method", ["kd", "att_kl_hidden_mse", "minilm"])
def test_loss_and_gradients_of_running_text_are_those_of_the_cpu(text, lm_teacher, method, device):
    options = {"task": {"tokens_per_sample": 24}, "task_name": "masked_lm_kd", "hard_weight": 1.0}
    assert_equal_on(device, text, lm_teacher, method, **options)


def train(device: str, *args: Any) -> list[float]:
    """Train two epochs of 8 updates by `distil_command(*args)`; return the loss of each update."""
    command = [*distil_command(*args), "--distributed-world-size", "1", "--max-epoch", "2"]
    if device != "cpu":
        command.remove("--cpu")
    return losses(train_here(command))


@pytest.fixture(scope="module")
def fp32(data, teacher, tmp_path_factory):
    """Return the losses of a training in fp32 on a device; train once per device."""
    known: dict[str, list[float]] = {}

    def fp32_losses(device: str) -> list[float]:
        if device not in known:
            run_dir = tmp_path_factory.mktemp("fp32")
            known[device] = train(device, data, run_dir, teacher, "att_kl_hidden_mse")
        return known[device]

    return fp32_losses


PRECISIONS = {
    "autocast": ["--autocast", "bf16"],
    "fp16": ["--fp16", "--fp16-no-flatten-grads"],
    "fp16-memory-efficient": ["--memory-efficient-fp16"],
    "fp16-flat-stock-adam": ["--fp16", "--optimizer", "adam"],
    "bf16": ["--bf16", "--fp16-no-flatten-grads"],
}
ON_CPU = ("autocast", "fp16", "fp16-memory-efficient")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("device", "precision"),
    [
        *(("cpu", precision) for precision in ON_CPU),
        *(pytest.param("cuda", precision, marks=pytest.mark.gpu) for precision in PRECISIONS),
    ],
)
def test_losses_of_16_bits_fall_and_are_close_to_fp32(data, teacher, tmp_path, fp32, device, precision):
    expected = fp32(device)
    assert len(expected) == 2 * UPDATES
    assert mean(expected[UPDATES:]) < 0.9 * mean(expected[:UPDATES])

    found = train(device, data, tmp_path, teacher, "att_kl_hidden_mse", *PRECISIONS[precision])
    assert len(found) == 2 * UPDATES
    assert all(math.isfinite(loss) for loss in found)
    # On a CPU, the largest difference was 0.0023. --bf16 also stores weights and activations with 8 bits.
    assert found == pytest.approx(expected, rel=0.05 if precision == "bf16" else 0.01)
    saved = checkpoint(tmp_path)
    assert all(value.isfinite().all() for part in ("model", "criterion") for value in saved[part].values())


@pytest.mark.slow
@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("flags", [[], PRECISIONS["fp16"]], ids=["fp32", "fp16"])
def test_killed_and_resumed_equals_straight_through(data, teacher, tmp_path, monkeypatch, device, flags):
    """With dropout, CRD's memory banks and its draws of negatives."""
    train_step, steps, killed_in = FairseqTask.train_step, 0, None

    def counted(self: FairseqTask, *args: Any, **options: Any) -> Any:
        nonlocal steps
        steps += 1
        if steps == killed_in:
            raise KeyboardInterrupt
        return train_step(self, *args, **options)

    monkeypatch.setattr(FairseqTask, "train_step", counted)
    given = (teacher, "crd", "--dropout", "0.1", "--save-interval-updates", "3", *flags)
    with reproducible(device):
        straight = train(device, data, tmp_path / "straight", *given)
        steps, killed_in = 0, UPDATES + 6
        with pytest.raises(KeyboardInterrupt):
            train(device, data, tmp_path / "killed", *given)
        killed_in = None
        resumed = train(device, data, tmp_path / "killed", *given)

    assert resumed == straight[12:]  # the last checkpoint before the kill is that of update 12
    check_same_weights(tmp_path / "killed", tmp_path / "straight")


@pytest.mark.parametrize("device", DEVICES)
def test_a_student_of_a_complete_cache_has_no_teacher_in_memory(tmp_path, device):
    """The teacher has 3.2 million parameters, 12.7 MB."""
    data = write_data(tmp_path / "data")
    shape = ModelShape(layers=4, width=256, ffn=1024, heads=4, max_positions=40)
    teacher = write_teacher(tmp_path / "model.pt", shape)
    cache = {"teacher_cache": str(tmp_path / "cache")}

    def memory(**options: Any) -> tuple[int, Any]:
        """Return the peak memory of a step with all sentences, in bytes of the device, and the teacher."""
        task, student, criterion = build(data, teacher, "kd", layers="0", task=options)
        sample = move(batch(task, range(64), "train"), torch.device(device))
        if device == "cpu":
            criterion(student, sample)[0].backward()
            return 0, task.teacher
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        student.to(device), criterion.to(device)
        criterion(student, sample)[0].backward()
        return torch.cuda.max_memory_allocated() - before, task.teacher

    live, model = memory()
    teacher_bytes = sum(4 * p.numel() for p in model.model.parameters())
    memory(**cache)  # writes the cache
    cached, source = memory(**cache)
    assert "live" not in vars(source)  # where a CachedTeacher keeps the live teacher, once loaded
    if device == "cuda":
        assert cached < live - 0.9 * teacher_bytes
