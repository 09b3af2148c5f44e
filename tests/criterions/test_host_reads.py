"""Logging an update copies its numbers from the device once. Reads of a training step: see `test_devices.py`."""

from collections import Counter

import pytest
import torch
from fairseq.logging import metrics
from torch import Tensor

from tests.tiny import batch, build, pretraining, write_data, write_teacher


class OnDevice(Tensor):
    """Stands for a tensor of another device: reading it counts, and what is computed from it is there, too."""

    reads: Counter = Counter()

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        name = getattr(func, "__name__", "")
        if name not in ("cpu", "item", "tolist", "numpy", "__float__", "__int__", "__bool__"):
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
    return {key: x.as_subclass(OnDevice) if torch.is_tensor(x) else x for key, x in logged.items()}


def logged_names(criterion, outputs: list[dict]) -> set[str]:
    """Log like fairseq's trainer, which computes every metric at every update; return the metrics' names."""
    with metrics.aggregate(new_root=True) as meters:
        criterion.reduce_metrics(outputs)
        return set(meters.get_smoothed_values())


@pytest.mark.slow
def test_an_update_is_read_once(data, teacher, reads):
    """Also if the numbers are sums over workers, which are all float64."""
    parts = build(data, teacher, "lad")
    logged = one_update(*parts)
    assert {"loss", "accuracy", "mcc", "f1", "target_spread"} <= logged_names(parts[2], [logged, logged])
    summed = {key: torch.as_tensor(value).double().as_subclass(OnDevice) for key, value in logged.items()}
    assert reads == {"cpu": 1}
    logged_names(parts[2], [summed])
    assert reads == {"cpu": 2}


def test_a_regression_is_read_once(tmp_path, reads):
    data = write_data(tmp_path / "data", regression=True)
    parts = build(data, write_teacher(tmp_path / "model.pt", classes=1), "kd")
    assert "pearson" in logged_names(parts[2], [one_update(*parts)])
    assert reads == {"cpu": 1}


def test_masked_words_are_read_once(text, lm_teacher, reads):
    parts = pretraining(text, lm_teacher, "minilm", hard_weight=1.0)
    assert {"loss", "hard", "ppl"} <= logged_names(parts[2], [one_update(*parts)])
    assert reads == {"cpu": 1}
