"""The criterions' sums over layers against the numbers of the original implementations."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from fairseq_kd.criterions.att_kl_hidden_mse import AttentionKLHiddenMSE
from fairseq_kd.criterions.att_kl_learn import AttentionKL
from fairseq_kd.criterions.att_mse_hidden_mse import AttentionMSEHiddenMSE
from fairseq_kd.criterions.att_mse_learn import AttentionMSE
from fairseq_kd.criterions.hidden_mse_learn import HiddenMSE
from fairseq_kd.criterions.hidden_mse_token import HiddenMSEToken
from fairseq_kd.models.shape import ModelShape
from fairseq_kd.signals import Signals

GOLDEN = Path(__file__).parents[1] / "golden"
TASK = SimpleNamespace(
    student_shape=ModelShape(layers=3, width=24, ffn=48, heads=4),
    teacher_shape=ModelShape(layers=12, width=24, ffn=48, heads=4),
)


def signals(recorded, side: str) -> Signals:
    states = recorded.get(f"in_{side}_hidden", np.zeros((0,)))
    attention = recorded.get(f"in_{side}_attention", np.zeros((0,)))
    return Signals(
        mask=torch.ones(3, 7, dtype=torch.bool),
        states={number: torch.from_numpy(state) for number, state in enumerate(states)},
        attention={number: torch.from_numpy(scores) for number, scores in enumerate(attention, start=1)},
    )


def criterion_of(criterion_class, mapping: str):
    cfg = SimpleNamespace(
        _name="golden",
        hard_weight=0.0,
        soft_weight=0.0,
        inter_weight=1.0,
        temperature=2.0,
        mapping=mapping,
        attention_clamp=None,
    )
    criterion = criterion_class(cfg, TASK_WITH_DICTIONARY)
    assert criterion.problems == []
    return criterion


TASK_WITH_DICTIONARY = SimpleNamespace(target_dictionary=None, head="head", **vars(TASK))


@pytest.mark.parametrize(
    ("name", "criterion_class", "mapping"),
    [
        ("hidden_mse_learn_skip", HiddenMSE, "skip"),
        ("hidden_mse_learn_last", HiddenMSE, "last"),
        ("hidden_mse_token_skip", HiddenMSEToken, "skip"),
        ("hidden_mse_token_last", HiddenMSEToken, "last"),
        ("att_kl_learn", AttentionKL, "skip"),
        ("att_mse_learn", AttentionMSE, "skip"),
        ("att_mse_hidden_mse", AttentionMSEHiddenMSE, "skip"),
        ("att_kl_hidden_mse", AttentionKLHiddenMSE, "skip"),
    ],
)
def test_sum_over_layers_equals_the_original(name, criterion_class, mapping):
    recorded = dict(np.load(GOLDEN / f"{name}.npz"))
    criterion = criterion_of(criterion_class, mapping)

    terms = criterion.terms(signals(recorded, "student"), signals(recorded, "teacher"))

    each = sum(terms.values())
    assert each.shape == (3,)
    assert_close(each.mean().item(), float(recorded["out_loss"]), rtol=1e-9, atol=0)


def test_combine_equals_the_original():
    recorded = dict(np.load(GOLDEN / "hidden_mse_learn_combine.npz"))
    criterion = criterion_of(HiddenMSE, "combine").double()
    projection = criterion.hidden.mixture.projection
    weight, bias = (
        next(recorded[key] for key in recorded if recorded[key].shape == p.shape)
        for p in projection.parameters()
    )
    projection.load_state_dict({"weight": torch.from_numpy(weight), "bias": torch.from_numpy(bias)})

    terms = criterion.terms(signals(recorded, "student"), signals(recorded, "teacher"))

    assert_close(terms["hidden"].mean().item(), float(recorded["out_loss"]), rtol=1e-9, atol=0)
