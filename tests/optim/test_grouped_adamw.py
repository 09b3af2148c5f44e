"""The optimizer without a precision wrapper: equality with torch's AdamW, gradients and clipping."""

import math
import subprocess
import sys

import pytest
import torch
from fairseq import utils
from torch import nn
from torch.testing import assert_close

from fairseq_kd.errors import CannotStart
from fairseq_kd.optim import GroupOptions, set_group
from tests.optim.updates import LR, SETUPS, grouped_model, model, plain, set_gradients, weights


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


@pytest.mark.parametrize("saved_with_groups", [True, False])
def test_state_of_other_groups_is_refused(saved_with_groups):
    grouped, ungrouped = (plain(each.parameters()) for each in (grouped_model(torch.float32), model()))
    saved, now = (grouped, ungrouped) if saved_with_groups else (ungrouped, grouped)
    sizes = {True: "2 and 4 parameters, .* groups of 6", False: "6 parameters, .* groups of 2 and 4"}
    with pytest.raises(CannotStart, match=f"{sizes[saved_with_groups]}.*--reset-optimizer"):
        now.load_state_dict(saved.state_dict())


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
