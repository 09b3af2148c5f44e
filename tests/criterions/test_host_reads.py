"""An update waits for the device once, to log: a batch's losses and gradients wait for nothing."""

from collections import Counter

import pytest
import torch
from fairseq.logging import metrics
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from tests.tiny import batch, build, write_data, write_teacher, write_text

METHODS = ["kd", "hidden_mse_learn", "att_kl_hidden_mse", "minilm_v2", "alp_kd", "crd", "hsk", "lad", "pkd"]

# What needs a tensor's values on the host; of indices, masks.
READS = {"_local_scalar_dense", "nonzero", "masked_select", "equal", "_unique2", "repeat_interleave"}
INDEXES = {"index", "index_put", "index_put_", "_index_put_impl_"}


class Reads(TorchDispatchMode):
    """Counts them."""

    def __init__(self) -> None:
        super().__init__()
        self.counts = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        if name in READS or name in INDEXES and any(i is not None and i.dtype == torch.bool for i in args[1]):
            self.counts[name] += 1
        return func(*args, **(kwargs or {}))


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
    x = torch.ones(3, requires_grad=True)
    with Reads() as seen:
        (x[x > 0].sum() * x.sum().item()).backward()
    assert seen.counts["index"] == seen.counts["_local_scalar_dense"] == 1
    there = torch.ones(3).as_subclass(OnDevice)
    assert (there / 2).sum() > 1
    assert round(there.sum().item()) == there.cpu().numel() == 3
    assert reads == {"__bool__": 1, "item": 1, "cpu": 1}


def one_update(task, student, criterion) -> dict:
    """What a batch logs, on the device; its losses and gradients are checked to read nothing."""
    student.train(), criterion.train()
    sample = batch(task, range(12), "train")
    with Reads() as seen:
        loss, _, logged = criterion(student, sample)
        loss.backward()
    assert not seen.counts
    return {
        key: value.as_subclass(OnDevice) if torch.is_tensor(value) else value for key, value in logged.items()
    }


def logged_names(criterion, outputs: list[dict]) -> set[str]:
    """Logs as fairseq's trainer does, which asks for every number at every update; returns their names."""
    with metrics.aggregate(new_root=True) as meters:
        criterion.reduce_metrics(outputs)
        return set(meters.get_smoothed_values())


@pytest.mark.parametrize("method", METHODS)
def test_an_update_is_read_once(data, teacher, reads, method):
    task, student, criterion = build(
        data, teacher, method, **({"crd_negatives": 8} if method == "crd" else {})
    )
    logged = one_update(task, student, criterion)
    assert {"loss", "accuracy", "mcc", "f1"} <= logged_names(criterion, [logged, logged])
    assert reads == {"cpu": 1}


def test_numbers_of_several_workers_are_read_once_too(data, teacher, reads):
    """What is summed over workers comes in float64, the counts of sentences among it."""
    task, student, criterion = build(data, teacher, "kd")
    logged = one_update(task, student, criterion)
    logged_names(
        criterion, [{key: torch.as_tensor(v).double().as_subclass(OnDevice) for key, v in logged.items()}]
    )
    assert reads == {"cpu": 1}


def test_a_regression_is_read_once(tmp_path, reads):
    data, teacher = (
        write_data(tmp_path / "data", regression=True),
        write_teacher(tmp_path / "t.pt", classes=1),
    )
    task, student, criterion = build(data, teacher, "kd")
    assert "pearson" in logged_names(criterion, [one_update(task, student, criterion)])
    assert reads == {"cpu": 1}


@pytest.mark.parametrize("method", ["kd", "minilm"])
def test_masked_words_are_read_once(tmp_path, reads, method):
    text = write_text(tmp_path / "text")
    teacher = write_teacher(tmp_path / "model.pt", classes=None, lm_head=True)
    parts = build(
        text, teacher, method, task={"tokens_per_sample": 24}, task_name="masked_lm_kd", hard_weight=1.0
    )
    assert {"loss", "hard", "ppl"} <= logged_names(parts[2], [one_update(*parts)])
    assert reads == {"cpu": 1}
