"""Gated teacher layers: which states and gates they need, and the statistics of the gates."""

import pytest
import torch
from torch.testing import assert_close

from fairseq_kd.signals import Signals
from tests.criterions.factory import criterion_of
from tests.tiny import batch, build

ALONE = {"hard_weight": 0.0, "soft_weight": 0.0}


@pytest.mark.parametrize(
    ("flags", "gates", "student", "teacher_states"),
    [
        ("--mapping skip", 3, {1, 2}, {1, 2, 3, 4}),
        ("--mapping 2:3", 2, {2}, {1, 2, 3}),
        ("--mapping 1:1,2:2", 1, {1, 2}, {1, 2}),
        ("--lad-partial 1", 1, {1, 2}, {1, 2, 4}),
        ("--mapping last --lad-form no", 1, {2}, {3, 4}),
        ("--mapping 1:2,2:3 --lad-form no", 2, {1, 2}, {1, 2, 3}),
        ("--mapping 1:3,2:4 --lad-form reverse", 1, {1, 2}, {3, 4}),
    ],
)
def test_only_needed_gates_and_states_are_used(flags, gates, student, teacher_states):
    criterion = criterion_of(f"lad {flags} --hard-weight 0 --soft-weight 0")
    assert len(criterion.hidden.gates.gates) == gates
    assert criterion.student_wanted.states == student
    assert criterion.teacher_wanted.states == teacher_states


def test_statistics_of_a_sentence_do_not_depend_on_others(data, teacher):
    task, student, criterion = build(data, teacher, "lad")
    criterion(student, batch(task, range(8)))
    criterion.eval()

    def seen(indices):
        criterion(student, batch(task, indices))
        return dict(criterion.observed)

    together, alone = seen([0, 3, 11]), [seen([index]) for index in (0, 3, 11)]
    assert set(together) == {"gate_2", "gate_3", "gate_4", "gate_mean", "target_norm", "_target_spread"}
    for name, each in together.items():
        assert_close(each, torch.cat([one[name] for one in alone]), rtol=1e-4, atol=1e-5)
    assert_close(together["target_norm"] > 0, torch.ones(3, dtype=torch.bool))


@pytest.mark.parametrize(("size", "measured"), [(3, [0, 1, 2]), (11, [0, 3, 6, 9]), (16, [0, 4, 8, 12])])
def test_training_measures_a_few_sentences_of_each_batch(data, teacher, monkeypatch, size, measured):
    """No half-open chain of the whole batch; and what is logged is their mean, which stands for all."""
    task, student, criterion = build(data, teacher, "lad", **ALONE)
    chains, half_open = [], criterion.hidden.gates.half_open
    monkeypatch.setattr(
        criterion.hidden.gates, "half_open", lambda states: chains.append(states.size(1)) or half_open(states)
    )
    sample = batch(task, range(size))
    _, _, logged = criterion(student, sample)
    criterion.eval()
    criterion(student, sample)
    assert chains == [len(measured), size]
    for name in ("gate_mean", "target_norm", "_target_spread"):
        each = criterion.observed[name]
        assert each.shape == (size,)
        assert_close(logged[f"term_{name}"], size * each[measured].mean())


def spread_of(criterion, student, sample) -> torch.Tensor:
    criterion(student, sample)
    return criterion.observed["_target_spread"]


@pytest.mark.slow
@pytest.mark.parametrize("scope", ["tokens", "cls"])
def test_the_spread_of_a_batch_depends_on_that_batch_only(data, teacher, scope):
    """Whatever was seen first, a single short sentence even."""
    task, student, criterion = build(data, teacher, "lad", lad_scope=scope, **ALONE)
    samples = [batch(task, indices) for indices in (range(8), [0], range(8, 16), [3, 3])]
    before = [spread_of(criterion, student, sample) for sample in samples]
    after = [spread_of(criterion, student, sample) for sample in reversed(samples)]
    assert_close(before, after[::-1], rtol=0, atol=0)
    assert_close(torch.cat(before), torch.ones(19), rtol=0, atol=0.3)
    if scope == "cls":  # a sentence with nothing to differ from, and one with its equal
        assert before[1].tolist() == [1]
        assert before[3].tolist() == [1, 1]


@pytest.mark.parametrize("scope", ["tokens", "cls"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_targets_in_half_precision_are_measured_in_fp32(data, teacher, scope, dtype):
    """Targets that differ by about a 500th of what new gates would make of them."""
    _, _, criterion = build(data, teacher, "lad", mapping="2:4", lad_scope=scope, **ALONE)
    part, generator = criterion.hidden.to(dtype), torch.Generator().manual_seed(1)
    with torch.no_grad():
        for gate in part.gates.gates:
            gate.norm.weight.fill_(1 / 500)
            gate.norm.bias.fill_(0.0)
    states = {k: torch.randn(6, 9, 16, generator=generator).to(dtype) for k in (1, 2, 3, 4)}
    mask = torch.arange(9) < torch.tensor([9, 5, 3, 9, 7, 4])[:, None]
    signals = Signals(mask=mask, states=states)
    student = Signals(mask=mask, states={2: states[2]})
    _, observed = part(student, signals)
    _, expected = part.double()(
        student, Signals(mask=mask, states={k: x.double() for k, x in states.items()})
    )
    for name in ("gate_mean", "target_norm", "_target_spread"):
        assert observed[name].dtype == torch.float32
        assert_close(observed[name], expected[name].float(), rtol=8 * torch.finfo(dtype).eps, atol=0)
    assert_close(observed["_target_spread"], torch.full((6,), 1 / 500), rtol=0.5, atol=0)
