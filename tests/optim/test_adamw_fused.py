"""The optimizer on CPU: equality with torch's AdamW, groups, clipping, and exact resume."""

import copy
import math
import subprocess
import sys

import pytest
import torch
from fairseq import optim, utils
from fairseq.optim import FP16Optimizer, MemoryEfficientFP16Optimizer
from omegaconf import OmegaConf
from torch import nn
from torch.testing import assert_close

from fairseq_kd.errors import CannotStart
from fairseq_kd.optim import AdamWFused, GroupOptions, drop_frozen_gradients, set_group

LR = 1e-2


def config(*, fp16=False, bf16=False, scale_window=2, **options):
    precision = {"fp16": fp16, "bf16": bf16, "fp16_no_flatten_grads": True}
    optimizer = {"_name": "adamw_fused", "adam_betas": "(0.9, 0.98)", "adam_eps": 1e-6, "weight_decay": 0.1,
                 "no_decay_norm_and_bias": False, "lr": [LR], "amp": False, "memory_efficient_fp16": False}  # fmt: skip
    common = {"fp16_scale_window": scale_window, "fp16_scale_tolerance": 0.0, "fp16_init_scale": 4,
              "threshold_loss_scale": None, "min_loss_scale": 1e-4, "model_parallel_size": 1}  # fmt: skip
    return OmegaConf.create(
        {
            "optimizer": optimizer | precision | options,
            "common": common | precision,
            "optimization": {"update_freq": [1]},
            "distributed_training": {"distributed_world_size": 1},
        }
    )


def model(dtype=torch.float32):
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(4, 5), nn.LayerNorm(5), nn.Linear(5, 3)).to(dtype)


def plain(parameters, **options) -> AdamWFused:
    return optim.build_optimizer(config(**options).optimizer, list(parameters))


def set_gradients(parameters, update, scale=1.0):
    """Give every trained parameter a gradient, the same in every run."""
    generator = torch.Generator().manual_seed(update)
    for parameter in parameters:
        gradient = torch.randn(parameter.shape, generator=generator)
        parameter.grad = (scale * gradient).to(parameter.dtype) if parameter.requires_grad else None


def weights(module):
    return [parameter.detach().clone() for parameter in module.parameters()]


def test_equals_torch_adamw_by_hand():
    ours, theirs = model(), model()
    optimizer = plain(ours.parameters())
    reference = torch.optim.AdamW(
        theirs.parameters(), lr=LR, betas=(0.9, 0.98), eps=1e-6, weight_decay=0.1, foreach=False
    )
    for update in range(5):
        set_gradients(ours.parameters(), update)
        set_gradients(theirs.parameters(), update)
        optimizer.step()
        reference.step()
    for found, expected in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert_close(found, expected, rtol=1e-6, atol=1e-7)


def test_groups_scale_the_schedulers_learning_rate():
    module = model()
    set_group(module[2].parameters(), GroupOptions(lr_scale=0.1, weight_decay=0.0))
    optimizer = plain(module.parameters(), weight_decay=0.0)
    optimizer.set_lr(0.5)
    before = weights(module)
    set_gradients(module.parameters(), 0)
    optimizer.step()

    # Adam's first step is the learning rate times the sign of the gradient.
    moved = [(b - w).abs().max().item() for b, w in zip(before, module.parameters(), strict=True)]
    assert moved == pytest.approx([0.5, 0.5, 0.5, 0.5, 0.05, 0.05], rel=1e-4)
    assert optimizer.get_lr() == 0.5


def test_multiply_grads_takes_numbers_and_tensors():
    module = model()
    optimizer = plain(module.parameters())
    for factor in (0.25, torch.tensor(0.25), torch.tensor([0.25])):
        set_gradients(module.parameters(), 0)
        expected = [0.25 * parameter.grad for parameter in module.parameters()]
        optimizer.multiply_grads(factor)
        for parameter, gradient in zip(module.parameters(), expected, strict=True):
            assert_close(parameter.grad, gradient)


@pytest.mark.parametrize("max_norm", [0.0, 0.7, 1e6])
def test_clipping_equals_fairseqs(max_norm):
    ours, theirs = model(), model()
    set_gradients(ours.parameters(), 0)
    set_gradients(theirs.parameters(), 0)
    found = plain(ours.parameters()).clip_grad_norm(max_norm)
    expected = utils.clip_grad_norm_(theirs.parameters(), max_norm)
    assert_close(found, expected)
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert_close(a.grad, b.grad)


def test_parameters_without_a_gradient_do_not_change():
    module = model()
    optimizer = plain(module.parameters())
    before = weights(module)
    assert optimizer.clip_grad_norm(1.0) == 0
    set_gradients(module[0].parameters(), 0)
    optimizer.multiply_grads(0.5)
    optimizer.clip_grad_norm(1.0)
    optimizer.step()
    moved = [not torch.equal(b, w) for b, w in zip(before, module.parameters(), strict=True)]
    assert moved == [True, True, False, False, False, False]

    optimizer.zero_grad()
    assert all(parameter.grad is None for parameter in module.parameters())


@pytest.mark.parametrize("betas", ["(0.9, 0.98)", "0.9, 0.98", [0.9, 0.98]])
def test_betas_are_read_from_flags_and_configs(betas):
    assert plain(model().parameters(), adam_betas=betas).param_groups[0]["betas"] == (0.9, 0.98)


@pytest.mark.parametrize("betas", ["0.9", "(0.9, 1.0)", "__import__('os')", "(a, b)"])
def test_invalid_betas_are_refused(betas):
    with pytest.raises(CannotStart, match="--adam-betas"):
        plain(model().parameters(), adam_betas=betas)


def test_biases_and_norms_can_be_excluded_from_decay():
    """With a gradient of 0, a parameter changes by its weight decay only."""
    for flag, decayed in ((False, [True] * 6), (True, [True, False, False, False, True, False])):
        module = model()
        nn.init.ones_(module[1].bias)
        optimizer = plain(module.parameters(), no_decay_norm_and_bias=flag)
        before = weights(module)
        for parameter in module.parameters():
            parameter.grad = torch.zeros_like(parameter)
        optimizer.step()
        expected = [b * (1 - LR * 0.1) if d else b for b, d in zip(before, decayed, strict=True)]
        for found, by_hand in zip(module.parameters(), expected, strict=True):
            assert_close(found.detach(), by_hand)


def test_a_group_has_its_own_settings():
    module = model()
    set_group(module[2].parameters(), GroupOptions(betas=(0.5, 0.6), eps=1e-3, weight_decay=0.3, lr=7.0))
    shared, own = plain(module.parameters()).param_groups
    assert [shared[k] for k in ("betas", "eps", "weight_decay", "peak")] == [(0.9, 0.98), 1e-6, 0.1, None]
    assert [own[k] for k in ("betas", "eps", "weight_decay", "peak")] == [(0.5, 0.6), 1e-3, 0.3, 7.0]


@pytest.mark.parametrize("decay", [None, 0.3])
def test_group_without_its_own_decay_excludes_biases_like_the_others(decay):
    module = model()
    set_group(module[2].parameters(), GroupOptions(lr=7.0, weight_decay=decay))
    for flag, bias in ((False, 0.1), (True, 0.0)):
        groups = plain(module.parameters(), no_decay_norm_and_bias=flag).param_groups
        decays = {id(p): group["weight_decay"] for group in groups for p in group["params"]}
        found = [decays[id(p)] for p in module[2].parameters()]
        assert found == ([0.1, bias] if decay is None else [0.3, 0.3])
        assert {group["peak"] for group in groups for p in group["params"] if p.shape[:1] == (3,)} == {7.0}


def learning_rates_used(options, updates, scheduled):
    """Return the learning rates of each update: with betas 0, Adam changes a weight by its learning rate."""
    shared, own = nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1))
    set_group([own], options)
    optimizer = plain([shared, own], adam_betas=(0.0, 0.0), adam_eps=1e-12, weight_decay=0.0)
    taken = []
    for update in range(updates):
        optimizer.set_lr(scheduled[update])
        before = shared.item(), own.item()
        shared.grad, own.grad = torch.ones(1), torch.ones(1)
        optimizer.step()
        taken.append((before[0] - shared.item(), before[1] - own.item()))
        assert optimizer.get_lr() == scheduled[update]
    return [[round(rate, 5) for rate in column] for column in zip(*taken, strict=True)]


@pytest.mark.parametrize(
    ("options", "scheduled", "expected"),
    [
        # The peak after two updates, 0 after six.
        (
            {"lr": 0.8, "warmup_updates": 2, "total_updates": 6},
            [0.3] * 4 + [0.1] * 4,
            [0.0, 0.4, 0.8, 0.6, 0.4, 0.2, 0.0, 0.0],
        ),
        (
            {"lr_scale": 10, "warmup_updates": 4},
            [0.3] * 6,
            [0.0, 0.025, 0.05, 0.075, 0.1, 0.1],
        ),  # --lr is 0.01
        ({"lr": 0.2}, [0.3, 0.2, 0.1], [0.2, 0.2, 0.2]),
    ],
)
def test_a_group_follows_its_own_schedule(options, scheduled, expected):
    shared, own = learning_rates_used(GroupOptions(**options), len(scheduled), scheduled)
    assert (shared, own) == (scheduled, expected)


def test_decay_that_ends_before_the_warm_up_is_refused():
    with pytest.raises(ValueError, match="total_updates 5"):
        GroupOptions(warmup_updates=5, total_updates=5)


def test_groups_with_their_own_limit_are_clipped_separately():
    """Gradients of norm 3, 4 and 12: total norm 13; --clip-norm 1.5 halves only the first."""
    module = nn.ParameterList([torch.zeros(9), torch.zeros(16), torch.zeros(144)])
    set_group([module[1]], GroupOptions(clip_norm=1.0))
    set_group([module[2]], GroupOptions(clip_norm=100.0))
    optimizer = plain(module.parameters())
    seen = []
    # After one update, Adam's first moment is a tenth of the gradient.
    for parameter in module:
        parameter.grad = torch.ones_like(parameter)

    assert optimizer.clip_grad_norm(1.5).item() == pytest.approx(13)
    optimizer.step()
    for parameter in module:
        seen.append(10 * optimizer.optimizer.state[parameter]["exp_avg"].norm().item())
    assert seen == pytest.approx([1.5, 1.0, 12.0], rel=1e-5)


def test_two_sets_with_equal_options_are_clipped_separately():
    module = nn.ParameterList([torch.zeros(4), torch.zeros(9)])
    for parameter in module:
        set_group([parameter], GroupOptions(clip_norm=1.0))
        parameter.grad = torch.ones_like(parameter)
    optimizer = plain(module.parameters())
    optimizer.step()
    norms = [10 * optimizer.optimizer.state[parameter]["exp_avg"].norm().item() for parameter in module]
    assert norms == pytest.approx([1.0, 1.0], rel=1e-5)


def test_biases_without_decay_are_clipped_with_their_weights():
    """A matrix and a bias of norms 3 and 4: total norm 5, so a limit of 1 divides by 5."""
    module = nn.ParameterList([torch.zeros(3, 3), torch.zeros(16)])
    set_group(module, GroupOptions(clip_norm=1.0))
    optimizer = plain(module.parameters(), no_decay_norm_and_bias=True)
    assert len(optimizer.param_groups) == 2
    for parameter in module:
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    norms = [10 * optimizer.optimizer.state[parameter]["exp_avg"].norm().item() for parameter in module]
    assert norms == pytest.approx([3 / 5, 4 / 5], rel=1e-5)


def half(wrapper, dtype):
    def build(module, **options):
        cfg = config(fp16=dtype == torch.float16, bf16=dtype == torch.bfloat16, **options)
        return wrapper.build_optimizer(cfg, list(module.parameters()))

    return build


SETUPS = {
    "fp32": (torch.float32, lambda module, **options: plain(module.parameters(), **options)),
    "bf16": (torch.bfloat16, half(FP16Optimizer, torch.bfloat16)),
    "fp16": (torch.float16, half(FP16Optimizer, torch.float16)),
    "memory_efficient_bf16": (torch.bfloat16, half(MemoryEfficientFP16Optimizer, torch.bfloat16)),
    "memory_efficient_fp16": (torch.float16, half(MemoryEfficientFP16Optimizer, torch.float16)),
}
every_setup = pytest.mark.parametrize("setup", SETUPS)


def grouped_model(dtype):
    module = model(dtype)
    set_group(module[0].parameters(), GroupOptions(lr=0.02, warmup_updates=2, total_updates=9, clip_norm=0.5))
    return module


def train(module, optimizer, updates):
    """Make updates as the trainer does: gradients of four sentences, scaled, then clipped."""
    for update in updates:
        optimizer.zero_grad()
        scaler = getattr(optimizer, "scaler", None)
        set_gradients(module.parameters(), update, scale=scaler.loss_scale if scaler else 1.0)
        optimizer._needs_sync = True  # as backward() of a wrapper sets it
        optimizer.multiply_grads(1 / 4)
        optimizer.clip_grad_norm(0.7)
        optimizer.set_lr(LR / (1 + update))
        drop_frozen_gradients(optimizer)
        optimizer.step()


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


def test_small_gradients_are_unscaled_in_fp32():
    """In fp16, a gradient of 1e-6 / 4096 would be 0, so it must be converted to fp32 before the division."""
    dtype, build = SETUPS["memory_efficient_fp16"]
    module = nn.ParameterList([nn.Parameter(torch.ones(4, dtype=dtype))])
    optimizer = build(module, weight_decay=0.0, adam_eps=1e-30)
    module[0].grad = torch.full((4,), 1e-6, dtype=dtype)
    optimizer.multiply_grads(1 / 4096)
    optimizer.clip_grad_norm(0.0)
    optimizer.step()
    assert_close(optimizer.optimizer.masters[0].detach(), torch.full((4,), 1 - LR))


def test_fp32_state_has_no_copy_of_the_weights():
    module = model()
    optimizer = plain(module.parameters())
    set_gradients(module.parameters(), 0)
    optimizer.step()
    assert set(optimizer.state_dict()) == {"state", "param_groups"}


def test_overflow_changes_nothing():
    dtype, build = SETUPS["memory_efficient_fp16"]
    module = model(dtype)
    optimizer = build(module)
    before = weights(module)
    set_gradients(module.parameters(), 0)
    module[0].weight.grad[0, 0] = math.inf
    with pytest.raises(OverflowError):
        optimizer.clip_grad_norm(1.0)
    assert all(torch.equal(a, b) for a, b in zip(before, module.parameters(), strict=True))


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


@pytest.mark.parametrize("saved_with_groups", [True, False])
def test_state_of_other_groups_is_refused(saved_with_groups):
    grouped, ungrouped = (plain(each.parameters()) for each in (grouped_model(torch.float32), model()))
    saved, now = (grouped, ungrouped) if saved_with_groups else (ungrouped, grouped)
    sizes = {True: "2 and 4 parameters, .* groups of 6", False: "6 parameters, .* groups of 2 and 4"}
    with pytest.raises(CannotStart, match=f"{sizes[saved_with_groups]}.*--reset-optimizer"):
        now.load_state_dict(copy.deepcopy(saved.state_dict()))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"fp16": True, "fp16_no_flatten_grads": False}, "--fp16 .*--fp16-no-flatten-grads"),
        ({"amp": True}, "--amp .*--autocast bf16"),
    ],
)
def test_unsupported_half_precision_is_refused(options, sentence):
    with pytest.raises(CannotStart, match=sentence):
        AdamWFused(config(**options).optimizer, [torch.nn.Parameter(torch.ones(2))])


@pytest.mark.slow
def test_torch_compiler_is_not_imported():
    """Its import takes seconds, more than a short training."""
    program = """
import sys, torch
from fairseq_kd.optim.grouped_adamw import GroupedAdamW
weight = torch.nn.Parameter(torch.ones(3))
optimizer = GroupedAdamW([weight], lr=0.1, betas=(0.9, 0.98), eps=1e-6, weight_decay=0.1)
for _ in range(2):
    weight.grad = torch.ones(3)
    optimizer.step()
    optimizer.load_state_dict(optimizer.state_dict())
assert weight[0] < 0.9
print("torch._dynamo" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
