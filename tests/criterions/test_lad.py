"""LAD: what it asks for, how its gates are trained, and that their collapse is seen."""

import logging
import math

import pytest
import torch
from fairseq.logging import metrics
from omegaconf import OmegaConf
from torch.testing import assert_close

from fairseq_kd.errors import CannotStart
from fairseq_kd.models.shape import ModelShape
from fairseq_kd.optim import AdamWFused
from fairseq_kd.signals import Signals
from tests.tiny import batch, build, train_command, train_here, write_teacher

ALONE = {"hard_weight": 0.0, "soft_weight": 0.0}
GROUPED = {"optimizer_name": "adamw_fused"}
WIDE = ModelShape(layers=4, width=32, ffn=64, heads=4, max_positions=40)
NARROW = {
    "encoder_layers": 2,
    "encoder_embed_dim": 32,
    "encoder_attention_heads": 4,
    "encoder_ffn_embed_dim": 32,
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "gates", "student", "teacher_states"),
    [
        ({}, 3, {1, 2}, {1, 2, 3, 4}),
        ({"mapping": "2:3"}, 2, {2}, {1, 2, 3}),
        ({"mapping": "1:1,2:2"}, 1, {1, 2}, {1, 2}),
        ({"lad_partial": 1}, 1, {1, 2}, {1, 2, 4}),
        ({"mapping": "last", "lad_form": "no"}, 1, {2}, {3, 4}),
        ({"mapping": "1:2,2:3", "lad_form": "no"}, 2, {1, 2}, {1, 2, 3}),
        ({"mapping": "1:3,2:4", "lad_form": "reverse"}, 1, {1, 2}, {3, 4}),
    ],
)
def test_no_gate_and_no_state_in_vain(data, teacher, options, gates, student, teacher_states):
    _, _, criterion = build(data, teacher, "lad", **ALONE, **options)
    assert len(criterion.hidden.gates.gates) == gates
    assert criterion.student_wanted.states == student
    assert criterion.teacher_wanted.states == teacher_states


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"mapping": "0:0"}, "--mapping 0:0 pairs only the embedding outputs, which have no gates: pair layers from 1"),
        ({"mapping": "0:2"}, "--mapping 0:2 pairs 0:2, but state 0 is the embedding output and has no gates"),
        ({"mapping": "combine"}, "--mapping combine mixes all hidden states"),
        ({"mapping": "2:1"}, "--mapping 2:1 gives the gates of --lad-form lad a single teacher layer"),
        ({"mapping": "2:4", "lad_form": "reverse"}, "gives the gates of --lad-form reverse a single teacher layer"),
        ({"mapping": "1:1,2:4", "lad_form": "no"}, "--lad-form no mixes .* pairs layer 1, which has none: pair"),
        ({"lad_partial": 3}, "--lad-partial 3 is out of range: .*: give 1 to 2"),
        ({"lad_partial": 0}, "--lad-partial 0 is out of range"),
        ({"mapping": "last", "lad_partial": 1}, "--lad-partial is below the student layers of all pairs of --mapping last"),
        ({"gate_lr": 0.0, **GROUPED}, "--gate-lr 0.0 is out of range: give a number above 0"),
        ({"gate_lr": math.nan, **GROUPED}, "--gate-lr nan is out of range: give a number above 0"),
        ({"gate_lr": math.inf, **GROUPED}, "--gate-lr inf is out of range"),
        ({"gate_weight_decay": math.nan, **GROUPED}, "--gate-weight-decay nan is out of range: give 0 or more"),
        ({"gate_weight_decay": -0.1, **GROUPED}, "--gate-weight-decay -0.1 is out of range: give 0 or more"),
        ({"gate_total_updates": 5, "gate_warmup_updates": 5, **GROUPED}, "--gate-total-updates 5 is not above"),
        ({"gate_warmup_updates": 5, **GROUPED}, "--gate-warmup-updates .* give --gate-lr"),
        ({"gate_total_updates": 5, **GROUPED}, "--gate-total-updates .* give --gate-lr"),
        ({"gate_betas": "0.9", **GROUPED}, "--gate-betas 0.9 is not a pair of decay rates"),
        ({"gate_lr": 1e-6, "gate_eps": 1e-8, "optimizer_name": "adam"}, "--gate-lr, --gate-eps need .* --optimizer adam "),
    ],
)  # fmt: skip
def test_what_cannot_be_is_said(data, teacher, options, sentence):
    with pytest.raises(CannotStart, match=sentence):
        build(data, teacher, "lad", **options)


# the optimizer


def groups_of(criterion) -> list[dict]:
    given = {"adam_betas": "(0.9, 0.98)", "adam_eps": 1e-6, "weight_decay": 0.1, "lr": [1e-3]}
    off = dict.fromkeys(
        ["no_decay_norm_and_bias", "fp16", "bf16", "amp", "fp16_no_flatten_grads", "memory_efficient_fp16"],
        False,
    )
    optimizer = AdamWFused(
        OmegaConf.create(given | off), [p for p in criterion.parameters() if p.requires_grad]
    )
    return optimizer.optimizer.param_groups


@pytest.mark.slow
def test_each_gate_is_a_group_with_settings_of_its_own(data, teacher):
    own = {"gate_lr": 5e-7, "gate_warmup_updates": 10, "gate_total_updates": 100, "gate_weight_decay": 0.01,
           "gate_clip_norm": 1.0, "gate_betas": "(0.8, 0.9)", "gate_eps": 1e-9}  # fmt: skip
    _, _, criterion = build(data, teacher, "lad", **own, **GROUPED)
    shared, *gates = groups_of(criterion)

    assert (len(shared["params"]), shared["clip_norm"], shared["peak"]) == (1, None, None)
    assert len(gates) == 3
    for group, gate in zip(gates, criterion.hidden.gates.gates, strict=True):
        assert {id(p) for p in group["params"]} == {id(p) for p in gate.parameters()}
        found = {
            name: group[name]
            for name in (
                "peak",
                "warmup_updates",
                "total_updates",
                "weight_decay",
                "clip_norm",
                "betas",
                "eps",
            )
        }
        assert found == {"peak": 5e-7, "warmup_updates": 10, "total_updates": 100, "weight_decay": 0.01,
                         "clip_norm": 1.0, "betas": (0.8, 0.9), "eps": 1e-9}  # fmt: skip


def test_frozen_gates_are_not_trained(data, teacher):
    task, student, criterion = build(data, teacher, "lad", lad_frozen=True, **ALONE)
    assert [name for name, p in criterion.named_parameters() if p.requires_grad] == ["anchor"]
    criterion(student, batch(task, [0, 1]))[0].backward()
    assert all(p.grad is None for p in criterion.hidden.gates.parameters())
    assert any(p.grad is not None for p in student.parameters())


@pytest.mark.slow
def test_stopped_and_resumed_equals_straight_through(data, teacher, tmp_path):
    flags = [
        "--teacher",
        str(teacher),
        "--criterion",
        "lad",
        "--init-layers",
        "0,3",
        "--fp16",
        "--fp16-no-flatten-grads",
        "--gate-lr",
        "1e-4",
    ]
    flags += ["--gate-warmup-updates", "4", "--gate-total-updates", "40", "--gate-clip-norm", "0.1"]
    straight = train_here(train_command(data, tmp_path / "straight", *flags, "--max-epoch", "2"))
    train_here(train_command(data, tmp_path / "twice", *flags, "--max-epoch", "1"))
    resumed = train_here(train_command(data, tmp_path / "twice", *flags, "--max-epoch", "2"))

    def steps(rows):
        names = ("loss", "hidden", "gate_mean", "target_norm", "target_spread")
        return [[values[name] for name in names] for tag, values in rows if tag == "train_inner"]

    assert steps(resumed) == steps(straight)[-8:]
    saved = [
        torch.load(tmp_path / name / "checkpoint_last.pt", weights_only=True)
        for name in ("straight", "twice")
    ]
    expected, found = (checkpoint["criterion"] for checkpoint in saved)
    assert "hidden.gates.gates.2.linear.weight" in expected
    for name, value in expected.items():
        assert torch.equal(found[name], value), name


@pytest.mark.slow
def test_a_resumed_run_takes_the_gates_options_given_now(data, teacher, tmp_path):
    flags = ["--teacher", str(teacher), "--criterion", "lad", "--init-layers", "0,3", "--max-epoch"]

    def train(*more: str) -> None:
        train_here(train_command(data, tmp_path, *flags, *more))

    train("1", "--gate-lr", "1e-4", "--gate-clip-norm", "0.1")
    train("2", "--gate-lr", "1e-5", "--gate-total-updates", "40")
    shared, *gates = torch.load(tmp_path / "checkpoint_last.pt")["last_optimizer_state"]["param_groups"]
    for gate in gates:
        assert (gate["peak"], gate["total_updates"], gate["clip_norm"]) == (1e-5, 40, None)
        assert gate["updates"] == shared["updates"] == 16

    with pytest.raises(
        CannotStart, match="groups of .* parameters, but this run has groups of .*: give .*--gate-"
    ):
        train("3")


# collapse


def trained(data, wide, gate_lr: float, caplog, steps: int = 150) -> tuple[list[float], float, list[str]]:
    """Target spreads as logged, the last loss, and the warnings; student from nothing, no labels, no logits."""
    task, student, criterion = build(data, wide, "lad", layers="random", model=NARROW, **ALONE)
    weights = [p for p in student.parameters() if p.requires_grad]
    gates = {"params": list(criterion.parameters()), "lr": gate_lr}
    optimizer = torch.optim.Adam([{"params": weights, "lr": 1e-3}, gates])
    caplog.clear()
    spreads = []
    with caplog.at_level(logging.WARNING):
        for step in range(steps):
            sample = batch(task, [(16 * step + place) % 64 for place in range(16)], "train")
            optimizer.zero_grad()
            loss, size, logged = criterion(student, sample)
            (loss / size).backward()
            optimizer.step()
            if step % 10 == 0 or step == steps - 1:
                with metrics.aggregate(new_root=True) as meters:
                    criterion.reduce_metrics([logged])
                spreads.append(meters.get_smoothed_values()["target_spread"])
    return spreads, loss.item() / size, [r.message for r in caplog.records if "gates" in r.message]


@pytest.mark.slow
def test_a_collapse_is_visible(data, tmp_path, caplog):
    wide = write_teacher(tmp_path / "model.pt", WIDE)
    spreads, loss, warnings = trained(data, wide, 0.1, caplog)
    assert spreads[0] == pytest.approx(1.0, abs=0.5)
    assert spreads[-1] < 0.1
    assert len(warnings) == 1
    assert "target_spread below 0.1" in warnings[0]
    assert "--gate-lr" in warnings[0]

    slow, higher, none = trained(data, wide, 1e-5, caplog)
    assert slow[-1] > 0.5
    assert higher > 3 * loss  # by the loss alone, the collapsed run would be the better one
    assert none == []


def test_what_is_logged_is_each_sentences_own(data, teacher):
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
def test_the_spread_of_a_batch_is_told_by_that_batch_alone(data, teacher, scope):
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


# pre-training
