"""LAD: how its gates are trained, and that their collapse is seen."""

import logging

import pytest
import torch
from fairseq.logging import metrics

from fairseq_kd.errors import CannotStart
from fairseq_kd.models.shape import ModelShape
from tests.criterions.factory import criterion_of
from tests.optim.updates import plain
from tests.runs import checkpoint
from tests.tiny import batch, build, distil_command, train_here, write_teacher

ALONE = {"hard_weight": 0.0, "soft_weight": 0.0}
WIDE = ModelShape(layers=4, width=32, ffn=64, heads=4, max_positions=40)
NARROW = {
    "encoder_layers": 2,
    "encoder_embed_dim": 32,
    "encoder_attention_heads": 4,
    "encoder_ffn_embed_dim": 32,
}


def test_each_gate_is_a_group_with_settings_of_its_own():
    criterion = criterion_of(
        "lad --gate-lr 5e-7 --gate-warmup-updates 10 --gate-total-updates 100 --gate-weight-decay 0.01 "
        "--gate-clip-norm 1 --gate-betas (0.8,0.9) --gate-eps 1e-9"
    )
    shared, *gates = plain(criterion.parameters()).param_groups

    assert (len(shared["params"]), shared["clip_norm"], shared["peak"]) == (1, None, None)
    assert len(gates) == 3
    expected = {"peak": 5e-7, "warmup_updates": 10, "total_updates": 100, "weight_decay": 0.01, "clip_norm": 1.0,
                "betas": (0.8, 0.9), "eps": 1e-9}  # fmt: skip
    for group, gate in zip(gates, criterion.hidden.gates.gates, strict=True):
        assert {id(p) for p in group["params"]} == {id(p) for p in gate.parameters()}
        assert {name: group[name] for name in expected} == expected


def test_betas_of_the_gates_are_a_pair():
    with pytest.raises(CannotStart, match="--gate-betas 0.9 is not a pair"):
        criterion_of("lad --gate-betas 0.9")


def test_frozen_gates_are_not_trained(data, teacher):
    task, student, criterion = build(data, teacher, "lad", lad_frozen=True, **ALONE)
    assert [name for name, p in criterion.named_parameters() if p.requires_grad] == ["anchor"]
    criterion(student, batch(task, [0, 1]))[0].backward()
    assert all(p.grad is None for p in criterion.hidden.gates.parameters())
    assert any(p.grad is not None for p in student.parameters())


@pytest.mark.slow
def test_a_resumed_run_takes_the_gates_options_given_now(data, teacher, tmp_path):
    def train(flags: str) -> None:
        train_here(distil_command(data, tmp_path, teacher, "lad", flags))

    train("--max-epoch 1 --gate-lr 1e-4 --gate-clip-norm 0.1")
    train("--max-epoch 2 --gate-lr 1e-5 --gate-total-updates 40")
    shared, *gates = checkpoint(tmp_path)["last_optimizer_state"]["param_groups"]
    for gate in gates:
        assert (gate["peak"], gate["total_updates"], gate["clip_norm"]) == (1e-5, 40, None)
        assert gate["updates"] == shared["updates"] == 16

    with pytest.raises(CannotStart, match="groups of .*, but this run has groups of .*: give .*--gate-"):
        train("--max-epoch 3")


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
