"""bf16 is replaced by fp32 where a CPU computes it slowly, and a resumed run keeps its precision."""

import logging
import re

import pytest
import torch

from fairseq_kd.errors import CannotStart
from fairseq_kd.tasks import precision
from tests.runs import check_same_weights, checkpoint
from tests.tiny import batch, build, distil_command, pretraining, train_here


@pytest.fixture
def slow(monkeypatch):
    monkeypatch.setattr(precision, "cpu_bf16_ratio", lambda: 9.46)


@pytest.fixture
def fast(monkeypatch):
    monkeypatch.setattr(precision, "cpu_bf16_ratio", lambda: 0.3)


def choice(task) -> tuple[str, str]:
    return str(task.cfg.bf16_products), str(task.cfg.autocast)


@pytest.mark.parametrize(
    ("flags", "chosen", "warning"),
    [
        ({"autocast": "bf16"}, ("fp32", "none"), "9.5 times .* --autocast bf16 are computed in fp32"),
        ({"autocast": "bf16", "bf16_products": "bf16"}, ("bf16", "bf16"), "9.5 times .*--bf16-products fp32"),
        ({"teacher_precision": "bf16"}, ("fp32", "none"), "--teacher-precision bf16 are computed in fp32"),
        ({"teacher_precision": "fp16"}, ("auto", "none"), None),
    ],
)
def test_slow_bf16_is_replaced_unless_it_is_demanded(data, teacher, slow, caplog, flags, chosen, warning):
    task, _, _ = build(data, teacher, "kd", task=flags)
    assert choice(task) == chosen
    warned = [
        record.getMessage()
        for record in caplog.records
        if record.levelno == logging.WARNING and "bf16" in record.getMessage()
    ]
    assert len(warned) == (warning is not None)
    if warning:
        assert re.search(warning, warned[0])


def test_fast_bf16_is_kept_and_fp32_is_not_measured(data, teacher, fast, monkeypatch):
    assert choice(build(data, teacher, "kd", task={"autocast": "bf16"})[0]) == ("bf16", "bf16")
    monkeypatch.setattr(precision, "cpu_bf16_ratio", lambda: pytest.fail("measured"))
    assert choice(build(data, teacher, "kd")[0]) == ("auto", "none")


def test_a_slow_teacher_computes_its_bf16_weights_in_fp32(data, teacher, slow):
    task, _, _ = build(data, teacher, "kd", task={"teacher_precision": "bf16"})
    exact, _, _ = build(data, teacher, "kd")
    weights = task.teacher.model.state_dict()
    assert {value.dtype for value in weights.values()} == {torch.float32}
    for name, value in exact.teacher.model.state_dict().items():
        assert torch.equal(weights[name], value.bfloat16().float())


@pytest.mark.parametrize(
    ("flags", "found"),
    [
        ({"bf16": True}, "--bf16 with --cpu .* --autocast bf16"),
        ({"fp16": True}, "--fp16 with --cpu .* add --fp16-no-flatten-grads"),
        ({"autocast": "bf16", "fp16": True}, "--autocast bf16 conflicts with --fp16.*remove"),
        ({"autocast": "bf16", "bf16": True}, "--autocast bf16 conflicts with --bf16.*remove"),
        ({"autocast": "bf16", "amp": True}, "--autocast bf16 conflicts with --amp.*remove"),
    ],
)
def test_precisions_that_conflict_are_refused(data, teacher, flags, found):
    with pytest.raises(CannotStart, match=found):
        build(data, teacher, "kd", task={"fp16_no_flatten_grads": "autocast" in flags, **flags})


def test_half_precision_on_a_cpu_is_warned_of(data, teacher, caplog):
    build(data, teacher, "kd", task={"fp16": True, "fp16_no_flatten_grads": True})
    assert "--fp16 with --cpu: training ends with an error" in caplog.text


def test_slow_bf16_of_masked_words_is_replaced(text, lm_teacher, tmp_path, slow):
    cache = {"teacher_cache": str(tmp_path / "cache"), "frozen_masking": True, "teacher_precision": "bf16"}
    given = {"mask_prob": 0.3, **cache, "autocast": "bf16"}
    task, _, _ = pretraining(text, lm_teacher, "kd", task=given)
    assert choice(task) == ("fp32", "none")
    sample = batch(task, [0, 1], "train")
    with task.objective.autocast(sample):
        assert not torch.is_autocast_enabled("cpu")
    task.teacher.signals(sample, task.teacher.wanted)
    # The cache is that of a teacher in bf16, so other machines can read it.
    head = torch.load(tmp_path / "cache" / "lm_head.pt", weights_only=True)
    assert {value.dtype for value in head.values()} == {torch.bfloat16}
    assert task.teacher._lm_head.weight.dtype == torch.float32


@pytest.mark.slow
@pytest.mark.parametrize(("first", "second", "kept"), [(9.0, 0.3, "fp32"), (0.3, 9.0, "bf16")])
def test_a_resumed_run_keeps_its_precision(data, teacher, tmp_path, monkeypatch, first, second, kept):
    """It ends with the weights of a run that was not interrupted."""

    def train(folder, ratio, epochs):
        monkeypatch.setattr(precision, "cpu_bf16_ratio", lambda: ratio)
        train_here(distil_command(data, folder, teacher, "kd", f"--autocast bf16 --max-epoch {epochs}"))

    train(tmp_path / "through", first, 2)
    train(tmp_path / "resumed", first, 1)
    train(tmp_path / "resumed", second, 2)
    check_same_weights(tmp_path / "resumed", tmp_path / "through")
    task = checkpoint(tmp_path / "resumed")["cfg"]["task"]
    assert (task["bf16_products"], task["autocast"]) == (kept, "none" if kept == "fp32" else "bf16")
