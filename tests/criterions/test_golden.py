"""The criterions' sums over layers against the numbers of the original implementations."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from fairseq_kd.context import DistillationContext
from fairseq_kd.criterions.alp_kd import ALPKD
from fairseq_kd.criterions.att_kl_hidden_mse import AttentionKLHiddenMSE
from fairseq_kd.criterions.att_kl_learn import AttentionKL
from fairseq_kd.criterions.att_mse_hidden_mse import AttentionMSEHiddenMSE
from fairseq_kd.criterions.att_mse_learn import AttentionMSE
from fairseq_kd.criterions.hidden_mse_learn import HiddenMSE
from fairseq_kd.criterions.hidden_mse_token import HiddenMSEToken
from fairseq_kd.criterions.lad import LAD
from fairseq_kd.criterions.minilm import MiniLM
from fairseq_kd.criterions.minilm_v2 import MiniLMv2
from fairseq_kd.criterions.pearson import Pearson
from fairseq_kd.criterions.pkd import PKD
from fairseq_kd.models.shape import ModelShape
from fairseq_kd.objectives import SentenceLabels
from fairseq_kd.signals import Signals
from tests.originals import golden_file

GATE_FLAGS = ["lr", "warmup_updates", "total_updates", "weight_decay", "clip_norm", "betas", "eps"]


def shape(layers: int, width: int = 24) -> ModelShape:
    return ModelShape(layers=layers, width=width, ffn=48, heads=4)


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


def criterion_of(criterion_class, mapping: str, student: ModelShape | None = None, **options):
    context = DistillationContext(
        SentenceLabels(3, regression=False), student or shape(3), shape(12), head="head"
    )
    settings = {
        "_name": "golden",
        "hard_weight": 0.0,
        "soft_weight": 0.0,
        "inter_weight": 1.0,
        "temperature": 2.0,
        "mapping": mapping,
        "attention_clamp": None,
        "two_stage": None,
        "first_weights": [],
    }
    cfg = SimpleNamespace(**settings | options)
    criterion = criterion_class(cfg, SimpleNamespace(context=context))
    assert criterion.errors == []
    return criterion


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
    recorded = dict(np.load(golden_file(name)))
    criterion = criterion_of(criterion_class, mapping)

    terms = criterion.terms(signals(recorded, "student"), signals(recorded, "teacher"))

    each = sum(terms.values())
    assert each.shape == (3,)
    assert_close(each.mean().item(), float(recorded["out_loss"]), rtol=1e-9, atol=0)


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
    recorded = dict(np.load(golden_file(name)))
    criterion = criterion_of(criterion_class, mapping, student, **options)

    terms = criterion.terms(signals(recorded, "student"), signals(recorded, "teacher"))

    assert_close(sum(terms.values()).mean().item(), float(recorded["out_loss"]), rtol=1e-9, atol=0)
    for term, each in terms.items():
        if f"out_loss_{term}" in recorded:
            assert_close(each.mean().item(), float(recorded[f"out_loss_{term}"]), rtol=1e-9, atol=0)


def test_pearson_equals_the_original():
    recorded = dict(np.load(golden_file("pearson")))
    sides = [
        Signals(torch.ones(3, 7, dtype=torch.bool), attention={top: torch.from_numpy(recorded[name])})
        for name, top in (("in_student_attention", 3), ("in_teacher_attention", 12))
    ]
    terms = criterion_of(Pearson, "last").terms(*sides)
    assert_close(terms["attention"].mean().item(), float(recorded["out_loss"]), rtol=1e-6, atol=0)


PKD_OPTIONS = {"pkd_unnormalized": False, "pkd_kl": "sum"}
LAD_OPTIONS = {"lad_form": "lad", "lad_partial": None, "lad_scope": "tokens", "lad_frozen": False}
LAD_OPTIONS |= dict.fromkeys([f"gate_{name}" for name in GATE_FLAGS])


def logits(recorded, side: str) -> Signals:
    return Signals(torch.ones(3, 7, dtype=torch.bool), logits=torch.from_numpy(recorded[f"in_{side}_logits"]))


@pytest.mark.parametrize("name", ["skip", "last"])
def test_all_terms_of_patience_equal_those_of_a_public_implementation(name):
    recorded = dict(np.load(golden_file(f"pkd_reimplementation_{name}")))
    criterion = criterion_of(PKD, f"pkd-{name}", shape(6), **PKD_OPTIONS | {"temperature": 5.0})
    weights, sample = {"hard": 1.0, "soft": 1.0}, {"target": torch.from_numpy(recorded["in_target"])}

    terms = criterion.objective_terms(
        weights, logits(recorded, "student"), logits(recorded, "teacher"), sample
    )
    terms |= criterion.terms(signals(recorded, "student"), signals(recorded, "teacher"))

    for ours, theirs in {"hard": "ce", "soft": "kd", "patience": "patience"}.items():
        assert_close(terms[ours].mean().item(), float(recorded[f"out_{theirs}"]), rtol=1e-9, atol=0)
    assert_close(
        sum(terms.values()), torch.from_numpy(recorded["out_each_sentence_alone"]), rtol=1e-9, atol=0
    )


def test_logits_of_patience_are_those_of_the_authors_where_the_mean_over_classes_is_taken():
    recorded = dict(np.load(golden_file("pkd_logits")))
    options = PKD_OPTIONS | {"pkd_kl": "mean", "temperature": 10.0}
    criterion = criterion_of(PKD, "pkd-skip", shape(6), **options)
    weights, sample = {"hard": 0.3, "soft": 0.7}, {"target": torch.from_numpy(recorded["in_target"])}

    terms = criterion.objective_terms(
        weights, logits(recorded, "student"), logits(recorded, "teacher"), sample
    )

    assert_close(terms["soft"].mean().item(), float(recorded["out_kd"]), rtol=1e-9, atol=0)
    total = sum(weight * terms[name].mean().item() for name, weight in weights.items())
    assert_close(total, float(recorded["out_loss"]), rtol=1e-9, atol=0)


@pytest.mark.parametrize(
    ("name", "scope", "reach"),
    [("cls", "cls", "all"), ("tokens", "tokens", "all"), ("tokens_prefix", "tokens", "prefix")],
)
def test_attended_layers_equal_the_original(name, scope, reach):
    recorded = dict(np.load(golden_file(f"alp_kd_{name}")))
    options = {"alp_scope": scope, "alp_reach": reach, "alp_detach": False}
    criterion = criterion_of(ALPKD, "", shape(6), **options).eval()

    terms = criterion.terms(signals(recorded, "student"), signals(recorded, "teacher"))

    expected = torch.from_numpy(recorded["out_each_sentence_alone_hidden"] / recorded["opt_mu"])
    assert_close(terms["hidden"], expected, rtol=1e-9, atol=0)
    weights = recorded["out_weights"].reshape(6, 3, -1, 12).mean(axis=2)
    for layer, layers in criterion.hidden.attention.reached.items():
        for number in layers:
            seen = criterion.observed[f"alpha_{layer}_{number}"]
            assert_close(seen, torch.from_numpy(weights[layer - 1, :, number - 1]), rtol=1e-9, atol=0)


@pytest.mark.parametrize(
    ("name", "mapping", "student", "options"),
    [
        ("lad", "skip", shape(6), {}),
        ("lad_cls", "skip", shape(6), {"lad_scope": "cls"}),
        ("lad_user_mapping", "6:12,5:10,2:3", shape(6), {}),
        ("lad_partial", "skip", shape(6), {"lad_partial": 2}),
        ("lad_reverse", "skip", shape(6), {"lad_form": "reverse"}),
        ("lad_no", "skip", shape(6), {"lad_form": "no"}),
        ("lad_no_4layers", "skip", shape(4), {"lad_form": "no"}),
    ],
)
def test_gated_layers_equal_the_original(name, mapping, student, options):
    recorded = dict(np.load(golden_file(name)))
    criterion = criterion_of(LAD, mapping, student, **LAD_OPTIONS | options).double()
    # Where there is recurrence, the original holds one gate more, which nothing passes.
    first = 0 if name.startswith("lad_no") else 1
    for number, gate in enumerate(criterion.hidden.gates.gates, start=first):
        for part in ("weight", "bias"):
            getattr(gate.linear, part).data = torch.from_numpy(recorded[f"in_gate_{part}"][number])
            getattr(gate.norm, part).data = torch.from_numpy(recorded[f"in_norm_{part}"][number])

    terms = criterion.terms(signals(recorded, "student"), signals(recorded, "teacher"))

    # The release divides by the student's layers, whatever is paired; we, by the pairs.
    scale = recorded["opt_mu"] * len(criterion.hidden.pairs) / recorded["opt_student_layers"]
    expected = torch.from_numpy(recorded["out_each_sentence_alone_hidden"])
    assert_close(scale * terms["hidden"], expected, rtol=1e-9, atol=0)


def test_the_pkd_of_lads_code_is_hidden_mse_without_the_embedding_pair():
    recorded = dict(np.load(golden_file("lad_code_pkd")))
    criterion = criterion_of(HiddenMSE, "1:2,2:4,3:6,4:8,5:10,6:12", shape(6))

    terms = criterion.terms(signals(recorded, "student"), signals(recorded, "teacher"))

    expected = torch.from_numpy(recorded["out_each_sentence_alone_hidden"])
    assert_close(recorded["opt_mu"] / 6 * terms["hidden"], expected, rtol=1e-9, atol=0)
