"""Logging an update copies its numbers from the device once. Reads of a training step: see `test_devices.py`."""

from collections import Counter

import pytest
import torch
from fairseq.logging import metrics
from torch import Tensor

from tests.tiny import batch, build, write_data, write_teacher, write_text


class OnDevice(Tensor):
    """Stands for a tensor of another device: reading it counts, and what is computed from it is there, too."""

    reads: Counter = Counter()

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        name = getattr(func, "__name__", "")
        if name not in (
            "cpu",
            "item",
            "tolist",
            "numpy",
            *(f"__{kind}__" for kind in ("float", "int", "bool")),
        ):
            return super().__torch_function__(func, types, args, kwargs)
        cls.reads[name] += 1
        return getattr(args[0].as_subclass(Tensor), name)(*args[1:])


@pytest.fixture
def reads():
    OnDevice.reads.clear()
    return OnDevice.reads


def test_reads_are_noticed(reads):
    there = torch.ones(3).as_subclass(OnDevice)
    assert (there / 2).sum() > 1
    assert round(there.sum().item()) == there.cpu().numel() == 3
    assert reads == {"__bool__": 1, "item": 1, "cpu": 1}


def one_update(task, student, criterion) -> dict:
    """Return what a batch logs, with all tensors on the device."""
    _, _, logged = criterion(student, batch(task, range(12), "train"))
    return {
        key: value.as_subclass(OnDevice) if torch.is_tensor(value) else value for key, value in logged.items()
    }


def logged_names(criterion, outputs: list[dict]) -> set[str]:
    """Log like fairseq's trainer, which computes every metric at every update; return the metrics' names."""
    with metrics.aggregate(new_root=True) as meters:
        criterion.reduce_metrics(outputs)
        return set(meters.get_smoothed_values())


@pytest.mark.slow
def test_an_update_is_read_once(data, teacher, reads):
    """Also if the numbers are sums over workers, which are all float64."""
    logged = one_update(*build(data, teacher, "lad"))
    _, _, criterion = build(data, teacher, "lad")
    assert {"loss", "accuracy", "mcc", "f1", "target_spread"} <= logged_names(criterion, [logged, logged])
    summed = {key: torch.as_tensor(value).double().as_subclass(OnDevice) for key, value in logged.items()}
    assert reads == {"cpu": 1}
    logged_names(criterion, [summed])
    assert reads == {"cpu": 2}


def test_a_regression_is_read_once(tmp_path, reads):
    data, teacher = (
        write_data(tmp_path / "data", regression=True),
        write_teacher(tmp_path / "t.pt", classes=1),
    )
    task, student, criterion = build(data, teacher, "kd")
    assert "pearson" in logged_names(criterion, [one_update(task, student, criterion)])
    assert reads == {"cpu": 1}


def test_masked_words_are_read_once(tmp_path, reads):
    text = write_text(tmp_path / "text")
    teacher = write_teacher(tmp_path / "model.pt", classes=None, lm_head=True)
    parts = build(
        text, teacher, "minilm", task={"tokens_per_sample": 24}, task_name="masked_lm_kd", hard_weight=1.0
    )
    assert {"loss", "hard", "ppl"} <= logged_names(parts[2], [one_update(*parts)])
    assert reads == {"cpu": 1}
