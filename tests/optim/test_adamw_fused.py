"""The optimizer under each of fairseq's precision wrappers: exact resume, frozen groups and fp32 masters."""

import copy

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from fairseq_kd.errors import CannotStart
from fairseq_kd.optim import GroupOptions, set_group
from tests.optim.updates import SETUPS, grouped_model, model, plain, train

every_setup = pytest.mark.parametrize("setup", SETUPS)


@pytest.mark.parametrize("betas", ["(0.9, 0.98)", "0.9, 0.98", [0.9, 0.98]])
def test_betas_are_read_from_flags_and_configs(betas):
    assert plain(model().parameters(), adam_betas=betas).param_groups[0]["betas"] == (0.9, 0.98)


@pytest.mark.parametrize("betas", ["0.9", "(0.9, 1.0)", "__import__('os')", "(a, b)"])
def test_invalid_betas_are_refused(betas):
    with pytest.raises(CannotStart, match="--adam-betas"):
        plain(model().parameters(), adam_betas=betas)


@pytest.mark.parametrize(("excluded", "expected"), [(False, {1: 0.1, 2: 0.1}), (True, {1: 0.0, 2: 0.1})])
def test_a_flag_excludes_biases_and_norms_from_decay(excluded, expected):
    groups = plain(model().parameters(), no_decay_norm_and_bias=excluded).param_groups
    assert {p.dim(): group["weight_decay"] for group in groups for p in group["params"]} == expected


@every_setup
def test_resume_is_exact(setup, tmp_path):
    """Three updates, a restart from the saved state and three more equal six updates, bit for bit."""
    dtype, build = SETUPS[setup]
    straight = grouped_model(dtype)
    optimizer = build(straight)
    train(straight, optimizer, range(3))
    torch.save(
        {"model": straight.state_dict(), "optimizer": optimizer.state_dict()}, tmp_path / "checkpoint.pt"
    )
    train(straight, optimizer, range(3, 6))

    resumed = grouped_model(dtype)
    saved = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    resumed.load_state_dict(saved["model"])
    restarted = build(resumed)
    restarted.load_state_dict(saved["optimizer"], {})
    train(resumed, restarted, range(3, 6))

    for found, expected in zip(resumed.parameters(), straight.parameters(), strict=True):
        assert torch.equal(found, expected)
    for found, expected in zip(restarted.optimizer.masters, optimizer.optimizer.masters, strict=True):
        assert found.dtype == torch.float32
        assert torch.equal(found, expected)
    assert [group["updates"] for group in restarted.optimizer.param_groups] == [6, 6]


@every_setup
@pytest.mark.parametrize("restarts", [False, True])
def test_updates_of_a_frozen_group_are_not_counted(setup, restarts):
    """The group is frozen for three updates, then trained for three: it ends as without the first three."""
    dtype, build = SETUPS[setup]
    module = grouped_model(dtype)
    optimizer = build(module)
    module[0].requires_grad_(False)
    train(module, optimizer, range(3))
    own, shared = optimizer.optimizer.param_groups
    assert (own["updates"], shared["updates"]) == (0, 3)
    masters = zip(optimizer.optimizer.masters[:2], grouped_model(dtype)[0].parameters(), strict=True)
    assert all(torch.equal(master, begun.float()) for master, begun in masters)

    if restarts:  # as in fairseq, the optimizer is built before the stage is known
        module.requires_grad_(True)
        state = copy.deepcopy(optimizer.state_dict())
        optimizer = build(module)
        optimizer.load_state_dict(state, {})
        module[0].requires_grad_(False)
    module[0].requires_grad_(True)
    train(module, optimizer, range(3, 6))

    late = grouped_model(dtype)
    train(late, build(late), range(3, 6))
    for found, expected in zip(module[0].parameters(), late[0].parameters(), strict=True):
        assert_close(found, expected)
    assert [group["updates"] for group in optimizer.optimizer.param_groups] == [3, 6]


@every_setup
def test_masters_accumulate_steps_too_small_for_half_precision(setup):
    """1 + 1e-4 rounds to 1 in bf16 and in fp16; the sum of sixty such steps does not."""
    dtype, build = SETUPS[setup]
    module = nn.ParameterList([nn.Parameter(torch.ones(8, 8, dtype=dtype))])
    optimizer = build(module, weight_decay=0.0, adam_eps=1e-12, scale_window=1000)
    optimizer.set_lr(1e-4)
    for _ in range(60):
        optimizer.zero_grad()
        module[0].grad = torch.full_like(module[0], -1.0)
        optimizer._needs_sync = True
        optimizer.multiply_grads(0.5)
        optimizer.clip_grad_norm(0.0)
        optimizer.step()
    assert_close(optimizer.optimizer.masters[0].detach(), torch.full((8, 8), 1.006), rtol=1e-5, atol=0)
    assert module[0].dtype == dtype
    assert_close(module[0].detach().float(), torch.full((8, 8), 1.006), rtol=4e-3, atol=0)


@every_setup
def test_current_options_override_those_of_the_checkpoint(setup):
    """Only the number of updates and Adam's moments come from the checkpoint."""
    dtype, build = SETUPS[setup]
    module = grouped_model(dtype)
    optimizer = build(module)
    train(module, optimizer, range(3))
    state = copy.deepcopy(optimizer.state_dict())

    now = model(dtype)
    set_group(now[0].parameters(), GroupOptions(lr=0.5, warmup_updates=4, clip_norm=2.0, weight_decay=0.0))
    restarted = build(now, adam_betas="(0.8, 0.9)", adam_eps=1e-3, weight_decay=0.2)
    restarted.load_state_dict(state, {})

    own, shared = restarted.optimizer.param_groups
    expected = {"peak": 0.5, "warmup_updates": 4, "total_updates": None, "clip_norm": 2.0}
    for group, weight_decay in ((own, 0.0), (shared, 0.2)):
        assert (group["betas"], group["eps"], group["updates"]) == ((0.8, 0.9), 1e-3, 3)
        assert group["weight_decay"] == weight_decay
    assert {name: own[name] for name in expected} == expected
    pairs = zip(restarted.optimizer.masters, optimizer.optimizer.masters, strict=True)
    for found, saved in pairs:
        averages = [its.optimizer.state[p]["exp_avg"] for its, p in ((restarted, found), (optimizer, saved))]
        assert torch.equal(*averages)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"fp16": True, "fp16_no_flatten_grads": False}, "--fp16 .*--fp16-no-flatten-grads"),
        ({"amp": True}, "--amp .*--autocast bf16"),
    ],
)
def test_unsupported_half_precision_is_refused(options, sentence):
    with pytest.raises(CannotStart, match=sentence):
        plain(model().parameters(), **options)
