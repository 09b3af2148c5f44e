"""What is pruned, against recorded numbers and models made by hand."""

from argparse import Namespace
from dataclasses import replace

import numpy as np
import torch
from torch.testing import assert_close

from fairseq_kd.models.pruning import (
    PROJECTION,
    WORDS,
    Sizes,
    factorise,
    head_scores,
    highest,
    neuron_scores,
    prune,
    scored_names,
)
from fairseq_kd.models.roberta_student import RobertaStudent
from fairseq_kd.models.shape import SENTENCE_ENCODER, ModelShape
from fairseq_kd.teachers.live import NO_DROPOUT
from tests.originals import recorded
from tests.tiny import SHAPE, weights
from tests.tiny import WORDS as COUNT

LAYER = SENTENCE_ENCODER + "layers.0."
OURS = {"value": "self_attn.v_proj", "attention_out": "self_attn.out_proj", "fc1": "fc1", "fc2": "fc2"}


def test_recorded_scores_and_weights():
    given = recorded("rosita_taylor")
    importance = {
        OURS[name] + ".weight": (
            given[f"in_{name}_gradients_1"].abs().sum(dim=0) * given[f"in_{name}_weight_1"]
        ).abs()
        for name in ("attention_out", "fc1", "fc2")
    }
    assert_close(importance["fc1.weight"], given["out_fc1_importance_1"], rtol=0, atol=1e-9)
    heads = head_scores(importance["self_attn.out_proj.weight"], int(given["opt_heads"]))
    neurons = neuron_scores(importance["fc1.weight"], importance["fc2.weight"])
    assert_close(heads, given["out_head_scores_1"], rtol=0, atol=1e-9)
    assert_close(neurons, given["out_neuron_scores_1"], rtol=0, atol=1e-9)
    # The original leaves the heads in falling order of score: another numbering of the same heads.
    assert highest(heads, 2).tolist() == sorted(given["out_heads_1"].tolist())
    assert highest(neurons, 8).tolist() == given["out_neurons_1"].tolist()

    shape = ModelShape(layers=1, width=24, ffn=32, heads=4)
    state = {
        LAYER + f"{ours}.{kind}": given[f"in_{name}_{kind}_1"]
        for name, ours in OURS.items()
        for kind in ("weight", "bias")
    }
    for kind in ("weight", "bias"):
        state |= {LAYER + f"self_attn.{name}_proj.{kind}": given[f"in_value_{kind}_1"] for name in "qk"}
    state[WORDS] = torch.zeros(5, 24)
    found, smaller = prune(state, shape, {LAYER + k: v for k, v in importance.items()}, Sizes(1, 2, 8, 24))
    assert (smaller.heads, smaller.head_width, smaller.ffn, smaller.rank) == (2, 6, 8, 0)
    order = given["out_heads_1"].argsort()
    for name, ours in OURS.items():
        for kind in ("weight", "bias"):
            expected = given[f"out_{name}_{kind}_1"]
            if name == "value":
                expected = expected.unflatten(0, (2, -1))[order].flatten(0, 1)
            elif name == "attention_out" and kind == "weight":
                expected = expected.unflatten(1, (2, -1))[:, order].flatten(1, 2)
            assert torch.equal(found[LAYER + f"{ours}.{kind}"], expected), (name, kind)


def test_recorded_factors():
    given = recorded("rosita_svd")
    tokens, projection = factorise(given["in_embedding"], 10)
    assert tokens.shape == (50, 10)
    assert projection.shape == (24, 10)
    assert_close(tokens @ projection.T, given["out_product"], rtol=0, atol=1e-9)
    assert_close(projection.T @ projection, torch.eye(10).double(), rtol=0, atol=1e-9)


def answers(state, shape, heads_off=(), neurons_off=()):
    """Class scores of a model some of whose heads and neurons are silenced by hand."""
    state = {name: value.clone() for name, value in state.items()}
    width = shape.attention_width // shape.heads
    for layer, head in heads_off:
        columns = slice(head * width, (head + 1) * width)
        state[f"{SENTENCE_ENCODER}layers.{layer}.self_attn.out_proj.weight"][:, columns] = 0
    for layer, neuron in neurons_off:
        state[f"{SENTENCE_ENCODER}layers.{layer}.fc2.weight"][:, neuron] = 0
    model = RobertaStudent(
        Namespace(**NO_DROPOUT), shape, range(COUNT), lm_head="encoder.lm_head.bias" in state
    ).eval()
    model.register_classification_head("sentence_classification_head", 2)
    model.load_state_dict(state)
    tokens = torch.tensor([[0, 5, 6, 7, 2], [0, 9, 2, 1, 1]])
    return model(tokens, classification_head_name="sentence_classification_head")[0].detach()


def importances(shape, state, seed=3):
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.rand(state[name].shape, generator=generator) for name in scored_names(shape.layers)}


def lowest(importance, layers, heads, ffn):
    """Heads and neurons that go, by hand."""
    off = [], []
    for layer in range(layers):
        out, fc1, fc2 = (importance[name] for name in scored_names(layers)[3 * layer : 3 * layer + 3])
        each = [out[:, 4 * head : 4 * head + 4].sum().item() for head in range(4)]
        off[0].extend((layer, head) for head in np.argsort(each)[: 4 - heads].tolist())
        each = [(fc1[neuron].sum() + fc2[:, neuron].sum()).item() for neuron in range(32)]
        off[1].extend((layer, neuron) for neuron in np.argsort(each)[: 32 - ffn].tolist())
    return off


def test_a_pruned_model_equals_the_large_one_with_the_rest_zeroed():
    state = weights(SHAPE)
    importance = importances(SHAPE, state)
    found, shape = prune(state, SHAPE, importance, Sizes(4, 2, 10, 16))
    assert str(shape) == "4 layers, width 16, 2 heads of 4, ffn 10"
    assert_close(
        answers(found, shape), answers(state, SHAPE, *lowest(importance, 4, 2, 10)), rtol=1e-4, atol=1e-5
    )


def test_a_pruned_model_can_be_pruned_again():
    state = weights(SHAPE, lm_head=True)
    once, shape = prune(state, SHAPE, importances(SHAPE, state), Sizes(3, 2, 10, 9))
    assert_close(once["encoder.lm_head.projection"], once[PROJECTION])
    again, smaller = prune(once, shape, importances(shape, once), Sizes(2, 1, 6, 5))
    assert (smaller.layers, smaller.heads, smaller.head_width, smaller.ffn, smaller.rank) == (2, 1, 4, 6, 5)
    assert answers(again, smaller).shape == (2, 2)
    expected, projection = factorise(once[WORDS] @ once[PROJECTION].T, 5)
    assert_close(again[WORDS] @ again[PROJECTION].T, expected @ projection.T)

    same, shape = prune(state, SHAPE, importances(SHAPE, state), Sizes.of(SHAPE))
    assert shape == SHAPE
    assert same.keys() == state.keys()
    assert all(torch.equal(same[name], state[name]) for name in state)


def test_sizes_that_are_equal_or_larger_are_refused():
    same = Sizes.of(SHAPE)
    [message] = same.errors(SHAPE)
    assert message.startswith("the sizes equal those of the model: give --layers")
    for name in ("layers", "heads", "ffn", "rank"):
        [message] = replace(same, **{name: 99}).errors(SHAPE)
        assert message.startswith(f"--{name} 99, but the model has")
