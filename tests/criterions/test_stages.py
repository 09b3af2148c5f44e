"""Two stages: each trains with its own weights, computes only what they need, and leaves other parameters unchanged."""

import pytest
import torch
from fairseq.optim import FP16Optimizer
from torch.testing import assert_close

from fairseq_kd.errors import CannotStart
from tests.optim.updates import config
from tests.tiny import batch, pretraining

ALONE = {"ddp_backend": "pytorch_ddp", "find_unused_parameters": False, "fp16": False}


@pytest.mark.slow
def test_each_stage_is_the_loss_of_its_weights(text, lm_teacher):
    task, student, criterion = pretraining(text, lm_teacher, "minilm", two_stage=0.25, **ALONE)
    sample = batch(task, [0, 1, 2])
    expected = []
    for options in ({"hard_weight": 1.0, "inter_weight": 0.0}, {}):
        other_task, other, plain = pretraining(text, lm_teacher, "minilm", **options)
        expected.append(plain(other.eval(), batch(other_task, [0, 1, 2])))

    student.eval()
    began = []
    first, second = expected
    for share, (loss, size, log) in {0.0: first, 0.2499: first, 0.25: second, 1.0: second}.items():
        began.append(criterion.stages.at_share(share))
        found = criterion(student, sample)
        assert_close(found[0], loss)
        assert found[1] == size
        assert found[2].keys() == log.keys()
    assert began == [False, False, True, False]


@pytest.mark.slow
def test_weights_of_the_first_stage_are_free(text, lm_teacher):
    stages = {"two_stage": 0.5, "first_weights": [0.0, 2.0, 3.0], "hard_weight": 1.0}
    task, student, criterion = pretraining(text, lm_teacher, "att_kl_learn", **stages, **ALONE)
    first = {"hard_weight": 0.0, "soft_weight": 2.0, "inter_weight": 3.0}
    _, same, plain = pretraining(text, lm_teacher, "att_kl_learn", **first)
    sample = batch(task, [0, 1])
    assert_close(criterion(student.eval(), sample)[0], plain(same.eval(), sample)[0])
    described = "2 soft + 3 inter in the first 0.5 of the time budget, then 1 hard + 1 inter"
    assert str(criterion.stages) == described


@pytest.mark.slow
def test_the_teacher_does_not_run_while_nothing_is_learned_from_it(text, lm_teacher, monkeypatch):
    task, student, criterion = pretraining(text, lm_teacher, "att_kl_learn", two_stage=0.5, **ALONE)
    calls = []
    signals = task.teacher.signals
    monkeypatch.setattr(task.teacher, "signals", lambda *given: calls.append(given) or signals(*given))
    criterion.stages.at_share(0.0)
    criterion(student, batch(task, [0, 1]))
    assert calls == []
    assert not criterion.stages.current.student_wanted.attention
    criterion.stages.at_share(0.5)
    criterion(student, batch(task, [0, 1]))
    assert len(calls) == 1


def test_a_stage_trains_only_parameters_that_its_loss_depends_on(text, lm_teacher):
    task, student, criterion = pretraining(
        text, lm_teacher, "hidden_mse_learn", mapping="combine", two_stage=0.5, **ALONE
    )
    assert all(parameter.requires_grad for parameter in student.parameters())  # as the optimizer sees it
    named = {**dict(student.named_parameters()), **dict(criterion.named_parameters())}
    del named["anchor"]

    for share, only in ((0.0, "lm_head"), (0.5, "mixture")):
        criterion.stages.at_share(share)
        for parameter in named.values():
            parameter.grad = None
        criterion(student, batch(task, [0, 1, 2]))[0].backward()
        trained = {name for name, parameter in named.items() if parameter.requires_grad}
        assert trained == {name for name, parameter in named.items() if parameter.grad is not None}
        assert any(only in name for name in trained)
    assert not any("lm_head.dense" in name for name in trained)


def test_frozen_gates_stay_frozen_in_each_stage(text, lm_teacher):
    _, _, criterion = pretraining(text, lm_teacher, "lad", lad_frozen=True, two_stage=0.5, **ALONE)
    for share in (0.0, 0.5, 1.0):
        criterion.stages.at_share(share)
        trained = [name for name, parameter in criterion.named_parameters() if parameter.requires_grad]
        assert trained == ["anchor"]


@pytest.mark.slow
def test_parameters_that_a_stage_does_not_train_neither_decay_nor_warm_up_in_half_precision(text, lm_teacher):
    """fairseq's fp32 copies have gradients of 0 where their weights have none."""
    gates = {"gate_lr": 1e-3, "gate_warmup_updates": 2, "optimizer_name": "adamw_fused"}
    task, student, criterion = pretraining(text, lm_teacher, "lad", two_stage=0.5, **gates, **ALONE)
    student.bfloat16(), criterion.bfloat16()
    named = {**dict(student.named_parameters()), **dict(criterion.named_parameters())}
    optimizer = FP16Optimizer.build_optimizer(config(bf16=True), list(named.values()))
    optimizer.set_lr(0.1)

    def moved_at(share: float) -> set[str]:
        """Those whose copies an update changes."""
        criterion.stages.at_share(share)
        before = [copy.detach().clone() for copy in optimizer.fp32_params]
        optimizer.zero_grad()
        optimizer.backward(criterion(student, batch(task, [0, 1, 2]))[0])
        task.optimizer_step(optimizer, student, 0)
        pairs = zip(before, optimizer.fp32_params, strict=True)
        return {name for name, (old, new) in zip(named, pairs, strict=True) if not torch.equal(old, new)}

    def clocks() -> set[int]:
        return {g["updates"] for g in optimizer.optimizer.param_groups if g["warmup_updates"]}

    gate_names = {name for name in named if ".gates." in name}
    assert not moved_at(0.0) & gate_names
    assert clocks() == {0}
    moved_at(0.5)
    assert gate_names <= moved_at(0.6)  # the first of its own updates has a rate of 0
    assert clocks() == {2}
    assert not any("lm_head" in name for name in moved_at(0.7))


def test_both_stages_must_log_what_chooses_the_best_checkpoint(text, lm_teacher):
    _, _, criterion = pretraining(text, lm_teacher, "att_kl_learn", two_stage=0.5, **ALONE)
    assert criterion.metric_names() == {"loss"}
    _, _, criterion = pretraining(text, lm_teacher, "att_kl_learn", two_stage=0.5, hard_weight=1.0, **ALONE)
    assert {"loss", "hard"} <= criterion.metric_names()
    assert "attention" not in criterion.metric_names()


def test_stages_need_a_time_budget(text, lm_teacher):
    task, student, criterion = pretraining(text, lm_teacher, "att_kl_learn", two_stage=0.5, **ALONE)
    criterion.stages.at_share(None)
    with pytest.raises(CannotStart, match="--two-stage 0.5 .*: give --lr-scheduler"):
        task.begin_epoch(1, student)
    criterion.stages.at_share(0.0)
    task.begin_epoch(1, student)
