"""Options of parameter groups: how they override the command line's, and the learning rate that follows from them."""

import pytest
import torch
from torch import nn

from fairseq_kd.optim import GroupOptions, set_group
from fairseq_kd.optim.groups import clipped_sets, make_groups
from tests.optim.updates import model, plain

DEFAULTS = {"lr": 0.01, "betas": (0.9, 0.98), "eps": 1e-6, "weight_decay": 0.1}


def test_a_group_has_its_own_settings():
    module = model()
    set_group(module[2].parameters(), GroupOptions(betas=(0.5, 0.6), eps=1e-3, weight_decay=0.3, lr=7.0))
    shared, own = make_groups(module.parameters(), DEFAULTS, decay_vectors=True)
    assert [shared[k] for k in ("betas", "eps", "weight_decay", "peak")] == [(0.9, 0.98), 1e-6, 0.1, None]
    assert [own[k] for k in ("betas", "eps", "weight_decay", "peak")] == [(0.5, 0.6), 1e-3, 0.3, 7.0]


@pytest.mark.parametrize("own", [None, 0.3])
@pytest.mark.parametrize("decay_vectors", [True, False])
def test_biases_and_norms_can_be_excluded_from_decay_but_not_from_a_groups_own(own, decay_vectors):
    module = model()
    set_group(module[2].parameters(), GroupOptions(lr=7.0, weight_decay=own))
    groups = make_groups(module.parameters(), DEFAULTS, decay_vectors)
    found = {id(p): (group["weight_decay"], group["peak"]) for group in groups for p in group["params"]}
    vector = 0.1 if decay_vectors else 0.0
    shared = [(0.1, None), (vector, None), (vector, None), (vector, None)]
    last = [(0.1, 7.0), (vector, 7.0)] if own is None else [(0.3, 7.0)] * 2
    assert [found[id(p)] for p in module.parameters()] == shared + last


def test_a_clip_norm_is_that_of_one_set():
    """Also if two sets have equal options, or biases have a group of their own because they have no weight decay."""
    matrix, bias, other = nn.ParameterList([torch.zeros(3, 3), torch.zeros(16), torch.zeros(4)])
    set_group([matrix, bias], GroupOptions(clip_norm=1.0))
    set_group([other], GroupOptions(clip_norm=1.0))
    groups = make_groups([matrix, bias, other], DEFAULTS, decay_vectors=False)
    assert len(groups) == 3
    sets = [(limit, [id(p) for p in parameters]) for limit, parameters in clipped_sets(groups)]
    assert sets == [(1.0, [id(matrix), id(bias)]), (1.0, [id(other)])]


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
        ({"lr_scale": 0.1}, [0.3, 0.2], [0.03, 0.02]),
        ({"lr": 0.2}, [0.3, 0.2, 0.1], [0.2, 0.2, 0.2]),
        ({"lr_scale": 10, "warmup_updates": 4}, [0.3] * 6, [0.0, 0.025, 0.05, 0.075, 0.1, 0.1]),  # --lr is 0.01
        # The peak after two updates, 0 after six.
        ({"lr": 0.8, "warmup_updates": 2, "total_updates": 6}, [0.3] * 8, [0.0, 0.4, 0.8, 0.6, 0.4, 0.2, 0.0, 0.0]),
    ],
)  # fmt: skip
def test_a_group_follows_the_scheduler_or_its_own_schedule(options, scheduled, expected):
    shared, own = learning_rates_used(GroupOptions(**options), len(scheduled), scheduled)
    assert (shared, own) == (scheduled, expected)


def test_decay_that_ends_before_the_warm_up_is_refused():
    with pytest.raises(ValueError, match="total_updates 5"):
        GroupOptions(warmup_updates=5, total_updates=5)
