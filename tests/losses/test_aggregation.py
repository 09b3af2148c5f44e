"""Targets that combine several teacher layers, by loops; `criterions/test_golden.py` compares them with the originals."""

import math

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from fairseq_kd.losses import FORMS, REACHES, Gates, LayerAttention

# attention


@pytest.mark.parametrize(
    ("reach", "student", "teacher", "expected"),
    [
        ("all", 2, 4, [(1, 4), (1, 4)]),
        ("prefix", 3, 12, [(1, 4), (1, 8), (1, 12)]),
        ("prefix", 4, 6, [(1, 2), (1, 3), (1, 4), (1, 6)]),  # 1.5 -> 2, 4.5 -> 4: halves are rounded to even
        ("buckets", 3, 12, [(1, 4), (5, 8), (9, 12)]),
        ("buckets", 4, 6, [(1, 2), (3, 3), (4, 4), (5, 6)]),
        ("neighbours", 3, 12, [(1, 5), (4, 9), (8, 12)]),
        ("neighbours", 4, 6, [(1, 3), (2, 4), (3, 5), (4, 6)]),
        ("neighbours", 1, 2, [(1, 2)]),
    ],
)
def test_layers_in_reach(reach, student, teacher, expected):
    reached = LayerAttention(student, teacher, reach).reached
    assert [(layers.start, layers.stop - 1) for layers in reached.values()] == expected


@pytest.mark.parametrize(
    ("student", "reach", "found"),
    [
        (2, "some", "one of all, prefix, buckets, neighbours, got 'some'"),
        (6, "buckets", "buckets gives student layer 1 of 6 no .* teacher has 3 layers"),
        (6, "prefix", "prefix gives student layer 1 of 6 no"),
    ],
)
def test_impossible_reach_raises(student, reach, found):
    with pytest.raises(ValueError, match=f"reach .*{found}"):
        LayerAttention(student, 3, reach)


@pytest.mark.parametrize("reach", REACHES)
@pytest.mark.parametrize("shape", [(2, 3), (2, 4, 3)], ids=["cls", "tokens"])
def test_attention_equals_explicit_loops(reach, shape, random):
    module, s, t = LayerAttention(2, 5, reach), random(2, *shape), random(5, *shape)
    for layer in (1, 2):
        found = module(s[layer - 1], t, layer)
        queries, expected = s[layer - 1].reshape(-1, 3), []
        for place, query in enumerate(queries):
            states = [t[j - 1].reshape(-1, 3)[place] for j in module.reached[layer]]
            scores = [math.exp(sum(query * state).item() / math.sqrt(3)) for state in states]
            expected.append(sum(a / sum(scores) * state for a, state in zip(scores, states, strict=True)))
        assert_close(found, torch.stack(expected).view(shape))


@pytest.mark.parametrize("detach", [False, True])
def test_detach_stops_the_gradient_through_the_attention(detach, random):
    s, t = random(2, 3).requires_grad_(), random(4, 2, 3)
    module = LayerAttention(1, 4, detach=detach)
    if detach:
        assert not module(s, t, 1).requires_grad
    else:
        assert torch.autograd.gradcheck(lambda q: module(q, t, 1), s)


# gates


def by_loops(gates: Gates, states, form):
    """Compute the aggregates from their definition, one layer at a time."""

    def mixed(number, before, state):
        gate = gates.gates[number]
        opened = torch.sigmoid(before @ gate.linear.weight.T + gate.linear.bias)
        mixture = opened * state + (1 - opened) * before
        centred = mixture - mixture.mean(dim=-1, keepdim=True)
        scale = (centred.square().mean(dim=-1, keepdim=True) + 1e-5).sqrt()
        return centred / scale * gate.norm.weight + gate.norm.bias

    if form == "no":
        return [mixed(n, states[layer - 2], states[layer - 1]) for n, layer in enumerate(gates.layers)]
    order = list(states) if form == "lad" else list(states)[::-1]
    found = [order[0]]
    for number, state in enumerate(order[1:]):
        found.append(mixed(number, found[-1], state))
    return found if form == "lad" else found[::-1]


def randomly(module: nn.Module, random) -> nn.Module:
    for parameter in module.double().parameters():
        parameter.data = random(*parameter.shape)
    return module


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("shape", [(2, 3), (2, 4, 3)], ids=["cls", "tokens"])
def test_gates_equal_explicit_loops(form, shape, random):
    module, states = randomly(Gates(5, 3, form), random), random(5, *shape)
    found = module(states)
    assert len(found) == (2 if form == "no" else 5)
    for ours, expected in zip(found, by_loops(module, states, form), strict=True):
        assert_close(ours, expected)


@pytest.mark.parametrize("form", FORMS)
def test_gradients_of_gates_equal_finite_differences(form, random):
    module = randomly(Gates(3, 2, form, [2, 3] if form == "no" else None), random)
    states = random(3, 2, 2).requires_grad_()
    inputs = [states, *module.parameters()]
    assert torch.autograd.gradcheck(lambda states, *_: torch.stack(module(states)), inputs)


def test_form_no_aggregates_the_given_layers(random):
    module, states = randomly(Gates(6, 3, "no", [3, 6]), random), random(6, 2, 3)
    first, second = module(states)
    assert_close(first, module.gates[0](states[1], states[2])[0])
    assert_close(second, module.gates[1](states[4], states[5])[0])


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"form": "other"}, "form must be one of lad, reverse, no, got 'other'"),
        (
            {"form": "no", "layers": [1, 2]},
            "layer 1 is out of range: .* 2 to 4",
        ),
        ({"form": "no", "layers": [5]}, "layer 5 is out of range"),
        ({"form": "lad", "layers": [2]}, "form lad aggregates all 4 layers and takes no list"),
    ],
)
def test_invalid_gate_options_raise(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        Gates(4, 3, **options)


def test_initial_gates():
    torch.manual_seed(1)
    gates = Gates(3, 400).gates
    bound = math.sqrt(6 / 800)
    for gate in gates:
        assert 0.95 * bound < gate.linear.weight.abs().max() <= bound
        assert gate.linear.bias.abs().max() == 0
        assert gate.norm.weight.min() == gate.norm.weight.max() == 1
    assert len(gates) == 2


def test_gates_compute_in_their_own_precision(random):
    module, states = Gates(3, 4), random(3, 2, 4)
    expected = module(states)[-1]
    assert expected.dtype == torch.float32
    assert_close(module(states.bfloat16())[1], module(states)[1], rtol=0.05, atol=0.05)
    with torch.autocast("cpu", dtype=torch.bfloat16):  # as --amp puts around a criterion
        assert torch.equal(module(states)[-1], expected)
