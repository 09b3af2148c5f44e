import pytest
import torch
from torch.testing import assert_close

from fairseq_kd.errors import CannotStart
from fairseq_kd.signals import Wanted
from tests.tiny import batch, build

WANTED = Wanted.of(logits=True, states=[0, 4], attention=[2], projections=[3])


def test_signals_are_the_models_own_and_carry_no_gradient(data, teacher):
    task, _, _ = build(data, teacher, "kd")
    sample = batch(task, [0, 1, 2])

    signals = task.teacher.signals(sample, WANTED)
    expected = task.teacher.model.signals(sample["net_input"]["src_tokens"], WANTED, task.data.head)

    assert len(signals.tensors()) == 7
    for found, wanted in zip(signals.tensors(), expected.tensors(), strict=True):
        assert_close(found, wanted)
        assert not found.requires_grad


def test_it_stays_in_eval_mode_after_a_validation(data, teacher):
    task, student, criterion = build(data, teacher, "kd", model={"dropout": 0.5})
    sample = batch(task, [0, 1, 2])
    before = task.teacher.signals(sample, WANTED)

    student.eval(), criterion.eval()
    criterion(student, sample)
    student.train(), criterion.train()
    criterion(student, sample)

    assert torch.equal(task.teacher.signals(sample, WANTED).logits, before.logits)


@pytest.mark.parametrize(
    ("precision", "dtype", "tolerance"), [("bf16", torch.bfloat16, 0.05), ("fp32", torch.float32, 1e-6)]
)
def test_precision_is_its_own(data, teacher, precision, dtype, tolerance):
    task, _, _ = build(data, teacher, "kd", task={"teacher_precision": precision, "autocast": "bf16"})
    exact, _, _ = build(data, teacher, "kd")
    sample = batch(task, [0, 1, 2])

    signals = task.teacher.signals(sample, WANTED)

    assert all(tensor.dtype == dtype for tensor in signals.tensors())
    expected = exact.teacher.signals(sample, WANTED).states[4]
    assert_close(signals.states[4].float(), expected, rtol=0, atol=10 * tolerance)


def test_a_device_of_its_own_gives_back_what_is_wanted(data, teacher):
    task, _, _ = build(data, teacher, "kd", task={"teacher_device": "cpu"})
    expected, _, _ = build(data, teacher, "kd")
    sample = batch(task, [0, 1])
    found, wanted = (each.teacher.signals(sample, WANTED).tensors() for each in (task, expected))
    assert_close(list(found), list(wanted))


def test_an_incomplete_teacher_is_refused(data, teacher, tmp_path):
    state = torch.load(teacher, weights_only=True)
    del state["model"]["encoder.sentence_encoder.layers.3.fc2.bias"]
    torch.save(state, tmp_path / "model.pt")
    with pytest.raises(CannotStart, match=r"--teacher .* has no encoder\..*\.layers\.3\.fc2\.bias"):
        build(data, tmp_path / "model.pt", "att_kl_learn", soft_weight=0.0, layers="0,1")
