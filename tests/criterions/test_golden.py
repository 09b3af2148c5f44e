"""The terms of the criterions against the numbers of the original implementations."""

import pytest
import torch
from torch.testing import assert_close

from fairseq_kd.models.shape import ModelShape
from fairseq_kd.objectives import SentenceLabels
from fairseq_kd.signals import Signals
from tests.criterions import factory
from tests.originals import check_original, recorded, with_gradients

MASK = torch.ones(3, 7, dtype=torch.bool)


def criterion_of(words: str, layers: int = 6, width: int = 24, teacher_layers: int = 12):
    """Return a criterion for a student and a teacher of these sizes; words: its name and flags."""
    student, teacher = (
        ModelShape(layers=number, width=size, ffn=48, heads=4)
        for number, size in ((layers, width), (teacher_layers, 8 if width == 8 else 24))
    )
    objective = SentenceLabels(3, regression=False)
    criterion = factory.criterion_of(words, student, teacher, objective=objective)
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


# file | criterion and flags | layers of the student (and its width, if it is not 24)
CASES = """
hidden_mse_learn_skip | hidden_mse_learn --mapping skip | 3
hidden_mse_learn_last | hidden_mse_learn --mapping last | 3
hidden_mse_learn_combine | hidden_mse_learn --mapping combine | 3
hidden_mse_token_skip | hidden_mse_token --mapping skip | 3
hidden_mse_token_last | hidden_mse_token --mapping last | 3
att_kl_learn | att_kl_learn --mapping skip | 3
att_kl_learn_clamped | att_kl_learn --mapping skip --attention-clamp 1e-7 | 3
att_mse_learn | att_mse_learn --mapping skip | 3
att_mse_hidden_mse | att_mse_hidden_mse --mapping skip | 3
att_kl_hidden_mse | att_kl_hidden_mse --mapping skip | 3
minilm_last | minilm --mapping last | 3
minilm_all | minilm --mapping skip | 3
agnostic_minilm_last | minilm --mapping last | 6
agnostic_minilm_all | minilm --mapping skip | 6
agnostic_att_mse_last | att_mse_learn --mapping last | 6
agnostic_hidden_mse_last | hidden_mse_learn --mapping last | 6
agnostic_hidden_mse_combine | hidden_mse_learn --mapping combine-layers | 6 8
qkv_relation | minilm_v2 --mapping skip | 3
minilm_v2 | minilm_v2 --mapping last | 6
minilm_v2_other_width | minilm_v2 --mapping last --relation-heads 4 | 6 16
minilm_v2_relation_heads | minilm_v2 --mapping last --relation-heads 6 | 6
pearson | pearson --mapping last | 1
""".strip().splitlines()
IN_FLOAT32 = {"agnostic_att_mse_last": 2e-6, "pearson": 1e-6}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.split()[0])
def test_terms_and_their_gradients_equal_the_original(case):
    name, words, sizes = case.split(" | ")
    rtol = IN_FLOAT32.get(name, 1e-9)
    d = recorded(name)
    leaves = [key.removeprefix("grad_") for key in d if key.startswith("grad_")]
    with_gradients(d, *leaves)
    criterion = criterion_of(
        words, *map(int, sizes.split()), **{"teacher_layers": 1} if name == "pearson" else {}
    )
    if "in_weight" in d:
        set_weights(criterion.hidden.mixture.projection, d["in_weight"], d["in_bias"])
    layers = d if name != "pearson" else {key: d[key][None] for key in d if key.startswith("in_")}

    # In two files, the first recorded state is that of layer 1.
    found = terms(criterion, layers, first_state=int(name.startswith("agnostic_hidden")))

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
    criterion = criterion_of(f"pkd --mapping pkd-{name} --temperature 5")
    weights, sample = {"hard": 1.0, "soft": 1.0}, {"target": d["in_target"]}

    found = criterion.objective_terms(weights, logits(d, "student"), logits(d, "teacher"), sample)
    found |= terms(criterion, d)

    for ours, theirs in {"hard": "ce", "soft": "kd", "patience": "patience"}.items():
        assert found[ours].mean().item() == pytest.approx(d[f"out_{theirs}"], rel=1e-9)
    assert_close(sum(found.values()), d["out_each_sentence_alone"], rtol=1e-9, atol=0)


def test_logits_of_patience_are_those_of_the_authors_where_the_mean_over_classes_is_taken():
    d = recorded("pkd_logits")
    criterion = criterion_of("pkd --mapping pkd-skip --pkd-kl mean --temperature 10")
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
    criterion = criterion_of(f"alp_kd --alp-scope {scope} --alp-reach {reach or 'all'}").eval()

    check_original(d, d["opt_mu"] * terms(criterion, d)["hidden"], ["student_hidden"], **HIDDEN)
    weights = d["out_weights"].reshape(6, 3, -1, 12).mean(dim=2)
    for layer, layers in criterion.hidden.attention.reached.items():
        for number in layers:
            found = criterion.observed[f"alpha_{layer}_{number}"]
            assert_close(found, weights[layer - 1, :, number - 1], rtol=1e-9, atol=0)


GATED = {
    "lad": "",
    "lad_cls": "--lad-scope cls",
    "lad_user_mapping": "--mapping 6:12,5:10,2:3",
    "lad_partial": "--lad-partial 2",
    "lad_reverse": "--lad-form reverse",
    "lad_no": "--lad-form no",
    "lad_no_4layers": "--lad-form no",
}


@pytest.mark.parametrize("name", GATED)
def test_gated_layers_equal_the_original(name):
    leaves = ["student_hidden", "gate_weight", "gate_bias", "norm_weight", "norm_bias"]
    d = with_gradients(recorded(name), *leaves)
    criterion = criterion_of(f"lad {GATED[name]}", d["opt_student_layers"])
    # With recurrence, the original has one more gate, which is never used.
    for number, gate in enumerate(criterion.hidden.gates.gates, start=0 if name.startswith("lad_no") else 1):
        set_weights(gate.linear, d["in_gate_weight"][number], d["in_gate_bias"][number])
        set_weights(gate.norm, d["in_norm_weight"][number], d["in_norm_bias"][number])

    # The original divides by the student's layers, however many are paired; ours by the pairs.
    scale = d["opt_mu"] * len(criterion.hidden.pairs) / d["opt_student_layers"]
    check_original(d, scale * terms(criterion, d)["hidden"], leaves, **HIDDEN)


def test_the_pkd_of_lads_code_is_hidden_mse_without_the_embedding_pair():
    d = with_gradients(recorded("lad_code_pkd"), "student_hidden")
    criterion = criterion_of("hidden_mse_learn --mapping 1:2,2:4,3:6,4:8,5:10,6:12")
    check_original(d, d["opt_mu"] / 6 * terms(criterion, d)["hidden"], ["student_hidden"], **HIDDEN)
