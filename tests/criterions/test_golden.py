"""The terms of the criterions against the numbers of the original implementations."""

from types import SimpleNamespace

import pytest
import torch
from fairseq.criterions import CRITERION_DATACLASS_REGISTRY, CRITERION_REGISTRY
from fairseq.dataclass.utils import merge_with_parent
from omegaconf import OmegaConf
from torch.testing import assert_close

import fairseq_kd  # noqa: F401
from fairseq_kd.context import DistillationContext
from fairseq_kd.models.shape import ModelShape
from fairseq_kd.objectives import SentenceLabels
from fairseq_kd.signals import Signals
from tests.originals import check_original, recorded, with_gradients

MASK = torch.ones(3, 7, dtype=torch.bool)


def criterion_of(method: str, layers: int = 3, width: int = 24, teacher_layers: int = 12, **options):
    """Return a criterion for a student and a teacher of these sizes."""
    student, teacher = (
        ModelShape(layers=number, width=size, ffn=48, heads=4)
        for number, size in ((layers, width), (teacher_layers, 8 if width == 8 else 24))
    )
    context = DistillationContext(SentenceLabels(3, regression=False), student, teacher, head="head")
    given = {"hard_weight": 0.0, "soft_weight": 0.0, "optimizer_name": "adam", **options}
    known = CRITERION_DATACLASS_REGISTRY[method]()
    given = {name: value for name, value in given.items() if hasattr(known, name)}
    cfg = merge_with_parent(known, OmegaConf.create(given))
    criterion = CRITERION_REGISTRY[method](cfg, SimpleNamespace(context=context))
    assert criterion.errors == []
    return criterion.double()


def terms(criterion, d, first_state: int = 0) -> dict[str, torch.Tensor]:
    """Return the method's own terms of a recorded case.

    first_state  the number of the first recorded state
    """

    def signals(side: str) -> Signals:
        def numbered(name: str, first: int) -> dict[int, torch.Tensor]:
            layers = d.get(f"in_{side}_{name}", ())
            return dict(enumerate(layers, start=first))

        states, inner = numbered("hidden", first_state), ("attention", "query", "key", "value")
        attention, queries, keys, values = (numbered(name, 1) for name in inner)
        return Signals(MASK, None, states, attention, queries=queries, keys=keys, values=values)

    return criterion.terms(signals("student"), signals("teacher"))


def set_weights(layer, weight: torch.Tensor, bias: torch.Tensor) -> None:
    """Let a layer use these tensors, which may be parts of others, as its parameters."""
    del layer.weight, layer.bias
    layer.weight, layer.bias = weight, bias


# file, criterion, layers of the student, options, relative tolerance (1e-6 where the original is in float32)
CASES = [
    ("hidden_mse_learn_skip", "hidden_mse_learn", 3, {"mapping": "skip"}, 1e-9),
    ("hidden_mse_learn_last", "hidden_mse_learn", 3, {"mapping": "last"}, 1e-9),
    ("hidden_mse_learn_combine", "hidden_mse_learn", 3, {"mapping": "combine"}, 1e-9),
    ("hidden_mse_token_skip", "hidden_mse_token", 3, {"mapping": "skip"}, 1e-9),
    ("hidden_mse_token_last", "hidden_mse_token", 3, {"mapping": "last"}, 1e-9),
    ("att_kl_learn", "att_kl_learn", 3, {"mapping": "skip"}, 1e-9),
    ("att_kl_learn_clamped", "att_kl_learn", 3, {"mapping": "skip", "attention_clamp": 1e-7}, 1e-9),
    ("att_mse_learn", "att_mse_learn", 3, {"mapping": "skip"}, 1e-9),
    ("att_mse_hidden_mse", "att_mse_hidden_mse", 3, {"mapping": "skip"}, 1e-9),
    ("att_kl_hidden_mse", "att_kl_hidden_mse", 3, {"mapping": "skip"}, 1e-9),
    ("minilm_last", "minilm", 3, {"mapping": "last"}, 1e-9),
    ("minilm_all", "minilm", 3, {"mapping": "skip"}, 1e-9),
    ("agnostic_minilm_last", "minilm", 6, {"mapping": "last"}, 1e-9),
    ("agnostic_minilm_all", "minilm", 6, {"mapping": "skip"}, 1e-9),
    ("agnostic_att_mse_last", "att_mse_learn", 6, {"mapping": "last"}, 2e-6),
    # In these two, the first recorded state is that of layer 1.
    ("agnostic_hidden_mse_last", "hidden_mse_learn", 6, {"mapping": "last"}, 1e-9),
    ("agnostic_hidden_mse_combine", "hidden_mse_learn", 6, {"mapping": "combine-layers", "width": 8}, 1e-9),
    ("qkv_relation", "minilm_v2", 3, {"mapping": "skip"}, 1e-9),
    ("minilm_v2", "minilm_v2", 6, {"mapping": "last"}, 1e-9),
    ("minilm_v2_other_width", "minilm_v2", 6, {"mapping": "last", "width": 16, "relation_heads": 4}, 1e-9),
    ("minilm_v2_relation_heads", "minilm_v2", 6, {"mapping": "last", "relation_heads": 6}, 1e-9),
    ("pearson", "pearson", 1, {"mapping": "last", "teacher_layers": 1}, 1e-6),
]


@pytest.mark.parametrize(
    ("name", "method", "layers", "options", "rtol"), CASES, ids=[case[0] for case in CASES]
)
def test_terms_and_their_gradients_equal_the_original(name, method, layers, options, rtol):
    d = recorded(name)
    criterion = criterion_of(method, layers, **options)
    leaves = [key.removeprefix("grad_") for key in d if key.startswith("grad_")]
    with_gradients(d, *leaves)
    if "in_weight" in d:
        set_weights(criterion.hidden.mixture.projection, d["in_weight"], d["in_bias"])
    stacked = d if name != "pearson" else {key: d[key][None] for key in d if key.startswith("in_")}

    found = terms(criterion, stacked, first_state=int(name.startswith("agnostic_hidden")))

    alone = None if name == "pearson" else "out_each_sentence_alone"  # its batch term needs the whole batch
    check_original(d, sum(found.values()), leaves, alone=alone, rtol=rtol)
    for term, each in found.items():
        if f"out_loss_{term}" in d:
            assert each.mean().item() == pytest.approx(d[f"out_loss_{term}"], rel=rtol)


def logits(d, side: str) -> Signals:
    return Signals(MASK, logits=d[f"in_{side}_logits"])


@pytest.mark.parametrize("name", ["skip", "last"])
def test_all_terms_of_patience_equal_those_of_a_public_implementation(name):
    d = recorded(f"pkd_reimplementation_{name}")
    criterion = criterion_of("pkd", 6, mapping=f"pkd-{name}", temperature=5.0)
    weights, sample = {"hard": 1.0, "soft": 1.0}, {"target": d["in_target"]}

    found = criterion.objective_terms(weights, logits(d, "student"), logits(d, "teacher"), sample)
    found |= terms(criterion, d)

    for ours, theirs in {"hard": "ce", "soft": "kd", "patience": "patience"}.items():
        assert found[ours].mean().item() == pytest.approx(d[f"out_{theirs}"], rel=1e-9)
    assert_close(sum(found.values()), d["out_each_sentence_alone"], rtol=1e-9, atol=0)


def test_logits_of_patience_are_those_of_the_authors_where_the_mean_over_classes_is_taken():
    d = recorded("pkd_logits")
    criterion = criterion_of("pkd", 6, mapping="pkd-skip", pkd_kl="mean", temperature=10.0)
    weights, sample = {"hard": 0.3, "soft": 0.7}, {"target": d["in_target"]}

    found = criterion.objective_terms(weights, logits(d, "student"), logits(d, "teacher"), sample)

    assert found["soft"].mean().item() == pytest.approx(d["out_kd"], rel=1e-9)
    total = sum(weight * found[name].mean().item() for name, weight in weights.items())
    assert total == pytest.approx(d["out_loss"], rel=1e-9)


HIDDEN = {"alone": "out_each_sentence_alone_hidden", "loss": "out_hidden_loss"}


@pytest.mark.parametrize("name", ["cls", "tokens", "tokens_prefix"])
def test_attended_layers_equal_the_original(name):
    d = with_gradients(recorded(f"alp_kd_{name}"), "student_hidden")
    scope, _, reach = name.partition("_")
    criterion = criterion_of("alp_kd", 6, alp_scope=scope, alp_reach=reach or "all").eval()

    check_original(d, d["opt_mu"] * terms(criterion, d)["hidden"], ["student_hidden"], **HIDDEN)
    weights = d["out_weights"].reshape(6, 3, -1, 12).mean(dim=2)
    for layer, layers in criterion.hidden.attention.reached.items():
        for number in layers:
            found = criterion.observed[f"alpha_{layer}_{number}"]
            assert_close(found, weights[layer - 1, :, number - 1], rtol=1e-9, atol=0)


@pytest.mark.parametrize(
    ("name", "options"),
    {
        "lad": {},
        "lad_cls": {"lad_scope": "cls"},
        "lad_user_mapping": {"mapping": "6:12,5:10,2:3"},
        "lad_partial": {"lad_partial": 2},
        "lad_reverse": {"lad_form": "reverse"},
        "lad_no": {"lad_form": "no"},
        "lad_no_4layers": {"lad_form": "no"},
    }.items(),
)
def test_gated_layers_equal_the_original(name, options):
    leaves = ["student_hidden", "gate_weight", "gate_bias", "norm_weight", "norm_bias"]
    d = with_gradients(recorded(name), *leaves)
    criterion = criterion_of("lad", d["opt_student_layers"], **{"mapping": "skip"} | options)
    # With recurrence, the original has one more gate, which is never used.
    for number, gate in enumerate(criterion.hidden.gates.gates, start=0 if name.startswith("lad_no") else 1):
        set_weights(gate.linear, d["in_gate_weight"][number], d["in_gate_bias"][number])
        set_weights(gate.norm, d["in_norm_weight"][number], d["in_norm_bias"][number])

    # The original divides by the student's layers, however many are paired; ours by the pairs.
    scale = d["opt_mu"] * len(criterion.hidden.pairs) / d["opt_student_layers"]
    check_original(d, scale * terms(criterion, d)["hidden"], leaves, **HIDDEN)


def test_the_pkd_of_lads_code_is_hidden_mse_without_the_embedding_pair():
    d = with_gradients(recorded("lad_code_pkd"), "student_hidden")
    criterion = criterion_of("hidden_mse_learn", 6, mapping="1:2,2:4,3:6,4:8,5:10,6:12")
    check_original(d, d["opt_mu"] / 6 * terms(criterion, d)["hidden"], ["student_hidden"], **HIDDEN)
