"""Two stages: each is the loss of its weights alone, computes no more, and leaves the other's weights be."""

import math

import pytest
import torch
from fairseq.optim import FP16Optimizer
from torch.testing import assert_close

from fairseq_kd.errors import CannotStart
from tests.optim.updates import config
from tests.tiny import batch, build, write_teacher, write_text

ALONE = {"ddp_backend": "pytorch_ddp", "find_unused_parameters": False, "fp16": False}


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    return write_text(tmp_path_factory.mktemp("text") / "text")


@pytest.fixture(scope="module")
def lm(tmp_path_factory):
    return write_teacher(tmp_path_factory.mktemp("lm") / "model.pt", classes=None, lm_head=True)


def pretraining(text, lm, criterion, **options):
    task = {"tokens_per_sample": 24}
    return build(text, lm, criterion, task=task, task_name="masked_lm_kd", **options)


@pytest.mark.slow
def test_each_stage_is_the_loss_of_its_weights(text, lm):
    task, student, criterion = pretraining(text, lm, "minilm", two_stage=0.25, **ALONE)
    sample = batch(task, [0, 1, 2])
    expected = []
    for options in ({"hard_weight": 1.0, "inter_weight": 0.0}, {}):
        other_task, other, plain = pretraining(text, lm, "minilm", **options)
        expected.append(plain(other.eval(), batch(other_task, [0, 1, 2])))

    student.eval()
    began = []
    for share, (loss, size, log) in zip(
        (0.0, 0.2499, 0.25, 1.0), [e for e in expected for _ in "ab"], strict=True
    ):
        began.append(criterion.stages.at_share(share))
        found = criterion(student, sample)
        assert_close(found[0], loss)
        assert found[1] == size
        assert found[2].keys() == log.keys()
    assert began == [False, False, True, False]


@pytest.mark.slow
def test_weights_of_the_first_stage_are_free(text, lm):
    task, student, criterion = pretraining(
        text, lm, "att_kl_learn", two_stage=0.5, first_weights=[0.0, 2.0, 3.0], hard_weight=1.0, **ALONE
    )
    _, same, plain = pretraining(text, lm, "att_kl_learn", hard_weight=0.0, soft_weight=2.0, inter_weight=3.0)
    sample = batch(task, [0, 1])
    assert_close(criterion(student.eval(), sample)[0], plain(same.eval(), sample)[0])
    assert (
        str(criterion.stages) == "2 soft + 3 inter in the first 0.5 of the time budget, then 1 hard + 1 inter"
    )


@pytest.mark.slow
def test_the_teacher_does_not_run_while_nothing_is_learned_from_it(text, lm, monkeypatch):
    task, student, criterion = pretraining(text, lm, "att_kl_learn", two_stage=0.5, **ALONE)
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


def test_only_what_a_stage_reaches_is_trained_in_it(text, lm):
    task, student, criterion = pretraining(
        text, lm, "hidden_mse_learn", mapping="combine", two_stage=0.5, **ALONE
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


def test_gates_that_are_frozen_stay_so_in_each_stage(text, lm):
    _, _, criterion = pretraining(text, lm, "lad", lad_frozen=True, two_stage=0.5, **ALONE)
    for share in (0.0, 0.5, 1.0):
        criterion.stages.at_share(share)
        trained = [name for name, parameter in criterion.named_parameters() if parameter.requires_grad]
        assert trained == ["anchor"]


@pytest.mark.slow
def test_what_a_stage_leaves_alone_neither_decays_nor_warms_up_in_half_precision(text, lm):
    """fairseq's fp32 copies have gradients of 0 where their weights have none."""
    gates = {"gate_lr": 1e-3, "gate_warmup_updates": 2, "optimizer_name": "adamw_fused"}
    task, student, criterion = pretraining(text, lm, "lad", two_stage=0.5, **gates, **ALONE)
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


def test_both_stages_must_log_what_chooses_the_best_checkpoint(text, lm):
    _, _, criterion = pretraining(text, lm, "att_kl_learn", two_stage=0.5, **ALONE)
    assert criterion.metric_names() == {"loss"}
    _, _, criterion = pretraining(text, lm, "att_kl_learn", two_stage=0.5, hard_weight=1.0, **ALONE)
    assert {"loss", "hard"} <= criterion.metric_names()
    assert "attention" not in criterion.metric_names()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"two_stage": 0.0}, "--two-stage 0 is out of range"),
        ({"two_stage": 1.0}, "--two-stage 1 is out of range"),
        ({"first_weights": [1.0, 0.0]}, "--first-weights 1,0 .*: give HARD,SOFT,INTER"),
        ({"first_weights": [0.0, 0.0, 0.0]}, "--first-weights are all 0"),
        ({"first_weights": [1.0, 0.0, -1.0]}, "--first-weights -1.0 is out of range"),
        ({"first_weights": [1.0, 0.0, math.nan]}, "--first-weights nan is out of range"),
        ({"inter_weight": math.nan}, "--inter-weight nan is out of range"),
        ({"hard_weight": math.inf}, "--hard-weight inf is out of range"),
        ({"temperature": math.nan}, "--temperature nan is out of range"),
    ],
)
def test_wrong_stages(text, lm, options, sentence):
    with pytest.raises(CannotStart, match=sentence):
        pretraining(text, lm, "att_kl_learn", **{"two_stage": 0.5, **ALONE, **options})


@pytest.fixture
def two_workers(monkeypatch):
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)


def test_what_a_stage_leaves_alone_is_an_error_to_ddp(text, lm, two_workers):
    with pytest.raises(CannotStart, match="--two-stage 0.5 .* --ddp-backend pytorch_ddp: add --find-unused"):
        pretraining(text, lm, "att_kl_learn", two_stage=0.5, **ALONE)
    for allowed in ({"find_unused_parameters": True}, {"ddp_backend": "legacy_ddp"}):
        pretraining(text, lm, "att_kl_learn", two_stage=0.5, **{**ALONE, **allowed})
    pretraining(text, lm, "att_kl_learn")


@pytest.mark.slow
def test_stages_and_one_vector_of_all_weights_are_refused_together(text, lm):
    """fairseq would shift the gradients of what is trained onto the first weights of the vector."""
    flat = {**ALONE, "fp16": True, "fp16_no_flatten_grads": False, "memory_efficient_fp16": False}
    with pytest.raises(CannotStart, match="--two-stage 0.5 .* --fp16 .*: add --fp16-no-flatten-grads"):
        pretraining(text, lm, "att_kl_learn", two_stage=0.5, **flat)
    for allowed in ({"fp16_no_flatten_grads": True}, {"memory_efficient_fp16": True}):
        pretraining(text, lm, "att_kl_learn", two_stage=0.5, **{**flat, **allowed})
    pretraining(text, lm, "att_kl_learn", **flat)


def test_weights_of_no_stage_are_refused(text, lm):
    with pytest.raises(CannotStart, match="--first-weights 0,1,0 .*: give --two-stage"):
        pretraining(text, lm, "att_kl_learn", first_weights=[0.0, 1.0, 0.0])


def test_a_method_without_terms_of_its_own_cannot_weigh_them(text, lm):
    options = {"two_stage": 0.5, "first_weights": [1.0, 0.0, 1.0], **ALONE}
    with pytest.raises(CannotStart, match="--first-weights 1,0,1 .* --criterion kd"):
        pretraining(text, lm, "kd", **options)


def test_stages_need_a_time_budget(text, lm):
    task, student, criterion = pretraining(text, lm, "att_kl_learn", two_stage=0.5, **ALONE)
    criterion.stages.at_share(None)
    with pytest.raises(CannotStart, match="--two-stage 0.5 .*: give --lr-scheduler"):
        task.begin_epoch(1, student)
    criterion.stages.at_share(0.0)
    task.begin_epoch(1, student)
