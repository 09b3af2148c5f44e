"""The average at every step, against means by hand and recorded ones; its state."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from fairseq_kd.signals import Signals, Wanted
from fairseq_kd.teachers import AveragedTeacher
from tests.originals import recorded
from tests.tiny import batch, build

LOGITS = Wanted(logits=True)


def averages(teacher, history):
    """Return the average after each push."""
    found = []
    for parameters in history:
        teacher.push([parameters[:2], parameters[2:]])
        found.append(torch.cat(list(teacher.average().values())))
    return torch.stack(found) if found else None


@pytest.mark.parametrize(
    ("window", "host"), [(1, False), (2, False), (3, False), ("all", False), (1, True), (3, True)]
)
def test_average_is_the_mean_of_the_last_sets_at_every_step(window, host):
    given = recorded("sda_average")
    found = averages(AveragedTeacher(window, host=host), given["in_parameters"][:6])
    assert_close(found, given[f"out_teacher_k{window}"], rtol=0, atol=1e-12)


@pytest.mark.parametrize("window", [1, 3])
def test_average_does_not_shrink_when_the_window_is_full(window):
    given, released = recorded("sda_average"), recorded("sda_released")[f"out_teacher_k{window}"]
    found = averages(AveragedTeacher(window), given["in_parameters"][:6])
    assert_close(found[:window], released[:window])
    assert ((found - released)[window:].abs().amax(dim=1) > 0.1).all()


@pytest.mark.parametrize("name", ["sda_ema", "sda_ema_cap"])
def test_ema_equals_the_recorded_one(name):
    given = recorded(name)
    teacher = AveragedTeacher(form="ema", decay=float(given["opt_decay"]))
    found = averages(teacher, given["in_parameters"])
    assert torch.equal(found[0], given["in_parameters"][0])
    assert_close(found[1:], given["out_teacher"], rtol=0, atol=1e-12)


def test_half_precision_is_averaged_in_float32():
    teacher = AveragedTeacher(2).half()
    history = torch.tensor([[1.0], [1.0 + 2**-10]]).half()
    for parameters in history:
        teacher.push([parameters])
    assert_close(teacher.average()["0"], torch.tensor([1.0 + 2**-11]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"window": -1}, "window -1"),
        ({"window": "3"}, "window 3"),
        ({"form": "mean"}, "form mean"),
        ({"form": "voted"}, "voted.*give a number"),
        ({"host": True}, "host.*give a number"),
    ],
)
def test_invalid_options_raise(options, message):
    with pytest.raises(ValueError, match=message):
        AveragedTeacher(**options)


def test_pushing_other_parameters_raises():
    teacher = AveragedTeacher(2)
    teacher.push({"a": torch.ones(2)})
    with pytest.raises(ValueError, match="differ from the 1 of the first push"):
        teacher.push({"a": torch.ones(2), "b": torch.ones(1)})


# state


WINDOW, HOST, ALL, EMA = {"window": 3}, {"window": 3, "host": True}, {"window": "all"}, {"form": "ema"}


@pytest.mark.parametrize("options", [WINDOW, HOST, ALL, EMA, {"window": 2, "form": "voted"}])
@pytest.mark.parametrize("before", [0, 1, 4])
def test_resume_from_the_state_dict_is_exact(options, before):
    """Also of the average before the next push."""
    history = torch.randn(7, 5)
    straight, first, second = (AveragedTeacher(**options) for _ in range(3))
    averages(straight, history)
    averages(first, history[:before])
    second.load_state_dict({name: value.clone() for name, value in first.state_dict().items()})
    if before and options.get("form") != "voted":
        for name, value in first.average().items():
            assert torch.equal(second.average()[name], value)
    averages(second, history[before:])

    for found, expected in zip(second.members(), straight.members(), strict=True):
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert second.pushed == 7


def test_state_of_another_window_raises():
    first, second = AveragedTeacher(3), AveragedTeacher(2)
    averages(first, torch.randn(4, 5))
    with pytest.raises(RuntimeError, match="3 parameter sets, but a window of 2"):
        second.load_state_dict(first.state_dict())


def test_it_has_no_parameters_and_no_submodules(data, teacher):
    _, student, _ = build(data, teacher, "kd")
    averaged = AveragedTeacher(2)
    averaged.set_student(student, "sentence_classification_head")
    averaged.push(dict(student.named_parameters()))
    assert [*averaged.parameters(), *averaged.buffers(), *averaged.children()] == []


# signals


def following(data, teacher, **options):
    """Return a student whose weights change at random, and its averaged teacher."""
    task, student, _ = build(data, teacher, "kd", model={"dropout": 0.5})
    averaged = AveragedTeacher(**options)
    averaged.set_student(student, task.data.head)
    return task, student, averaged


def change(student, seed):
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in student.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)


def answers(student, sample):
    student.eval()
    logits, _ = student(**sample["net_input"], classification_head_name="sentence_classification_head")
    student.train()
    return logits.detach()


@pytest.mark.parametrize("form", ["average", "voted"])
def test_window_of_one_has_the_students_previous_signals(data, teacher, form):
    task, student, averaged = following(data, teacher, window=1, form=form)
    sample = batch(task, [0, 3, 11])
    for step in range(3):
        before = answers(student, sample)
        averaged.push(dict(student.named_parameters()))
        change(student, step)
        found = averaged.signals(sample, LOGITS)
        assert_close(found.logits, before, rtol=0, atol=1e-6)
        assert not found.logits.requires_grad
        assert not torch.allclose(answers(student, sample), before)


def test_voted_equals_the_recorded_one():
    given = recorded("sda_average")
    for window in (1, 2, 3):
        averaged = AveragedTeacher(window, "voted")
        averaged.set_student(Recorded(given["in_logits"]), None)
        for step in range(6):
            averaged.push({"step": torch.tensor(float(step))})
            found = averaged.signals({"net_input": {}}, LOGITS).logits
            assert_close(found, given[f"out_voted_logits_k{window}"][step], rtol=0, atol=1e-12)


class Recorded(nn.Module):
    """A student with one parameter, the number of the recorded logits that it returns."""

    def __init__(self, logits):
        super().__init__()
        self.step = nn.Parameter(torch.zeros(()))
        self.logits = logits

    def forward(self, **_):
        return Signals(torch.ones(3, 1, dtype=torch.bool), logits=self.logits[int(self.step)])


def test_average_has_the_signals_of_averaged_parameters(data, teacher):
    task, student, averaged = following(data, teacher, window=3)
    sample = batch(task, [0, 3, 11])
    for step in range(5):
        averaged.push(dict(student.named_parameters()))
        change(student, step)
    found = averaged.signals(sample, Wanted.of(logits=True, states=[2]))
    with torch.no_grad():
        for name, parameter in student.named_parameters():
            parameter.copy_(averaged.average()[name])
    assert_close(found.logits, answers(student, sample))
    assert found.states[2].shape[0] == 3
