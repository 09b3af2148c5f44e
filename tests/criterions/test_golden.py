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
from fairseq_kd.criterions.minilm import MiniLM
from fairseq_kd.criterions.minilm_v2 import MiniLMv2
from fairseq_kd.criterions.pearson import Pearson
from fairseq_kd.models.shape import ModelShape
from fairseq_kd.objectives import SentenceLabels
from fairseq_kd.signals import Signals

GOLDEN = Path(__file__).parents[1] / "golden"
TASK = SimpleNamespace(
    student_shape=ModelShape(layers=3, width=24, ffn=48, heads=4),
    teacher_shape=ModelShape(layers=12, width=24, ffn=48, heads=4),
)


def signals(recorded, side: str) -> Signals:
    states = recorded.get(f"in_{side}_hidden", np.zeros((0,)))

    def by_layer(name: str) -> dict[int, torch.Tensor]:
        layers = recorded.get(f"in_{side}_{name}", np.zeros((0,)))
        return {number: torch.from_numpy(layer) for number, layer in enumerate(layers, start=1)}

    return Signals(
        mask=torch.ones(3, 7, dtype=torch.bool),
        states={number: torch.from_numpy(state) for number, state in enumerate(states)},
        attention=by_layer("attention"),
        queries=by_layer("query"),
        keys=by_layer("key"),
        values=by_layer("value"),
    )


def criterion_of(criterion_class, mapping: str, task=None, **options):
    cfg = SimpleNamespace(
        _name="golden",
        hard_weight=0.0,
        soft_weight=0.0,
        inter_weight=1.0,
        temperature=2.0,
        mapping=mapping,
        attention_clamp=None,
        two_stage=None,
        **options,
    )
    criterion = criterion_class(cfg, task or TASK_WITH_DICTIONARY)
    assert criterion.problems == []
    return criterion


TASK_WITH_DICTIONARY = SimpleNamespace(
    target_dictionary=None, head="head", objective=SentenceLabels(3, regression=False), **vars(TASK)
)


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


def shape(layers: int, width: int = 24) -> ModelShape:
    return ModelShape(layers=layers, width=width, ffn=48, heads=4)


@pytest.mark.parametrize(
    ("name", "criterion_class", "mapping", "student", "options"),
    [
        ("minilm_last", MiniLM, "last", shape(3), {}),
        ("minilm_all", MiniLM, "skip", shape(3), {}),
        ("agnostic_minilm_last", MiniLM, "last", shape(6), {}),
        ("agnostic_minilm_all", MiniLM, "skip", shape(6), {}),
        ("qkv_relation", MiniLMv2, "skip", shape(3), {"relation_heads": None}),
        ("minilm_v2", MiniLMv2, "last", shape(6), {"relation_heads": None}),
        ("minilm_v2_other_width", MiniLMv2, "last", shape(6, width=16), {"relation_heads": 4}),
        ("minilm_v2_relation_heads", MiniLMv2, "last", shape(6), {"relation_heads": 6}),
    ],
)
def test_relations_equal_the_original(name, criterion_class, mapping, student, options):
    recorded = dict(np.load(GOLDEN / f"{name}.npz"))
    task = SimpleNamespace(**vars(TASK_WITH_DICTIONARY) | {"student_shape": student})
    criterion = criterion_of(criterion_class, mapping, task, **options)

    terms = criterion.terms(signals(recorded, "student"), signals(recorded, "teacher"))

    assert_close(sum(terms.values()).mean().item(), float(recorded["out_loss"]), rtol=1e-9, atol=0)
    for term, each in terms.items():
        if f"out_loss_{term}" in recorded:
            assert_close(each.mean().item(), float(recorded[f"out_loss_{term}"]), rtol=1e-9, atol=0)


def test_pearson_equals_the_original():
    recorded = dict(np.load(GOLDEN / "pearson.npz"))
    sides = [
        Signals(torch.ones(3, 7, dtype=torch.bool), attention={top: torch.from_numpy(recorded[name])})
        for name, top in (("in_student_attention", 3), ("in_teacher_attention", 12))
    ]
    terms = criterion_of(Pearson, "last").terms(*sides)
    assert_close(terms["attention"].mean().item(), float(recorded["out_loss"]), rtol=1e-6, atol=0)
