"""Targets that combine several teacher layers: by hand, by loops, and against recorded numbers."""

import math

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from fairseq_kd.losses import FORMS, REACHES, Gates, LayerAttention, hidden_mse, token_mse

REAL = torch.ones(3, 7, dtype=torch.bool)


def targets_of_attention(module, s, t):
    """Return one target per student layer. s [L_s, B, .., H], t [L_t, B, .., H]."""
    return torch.stack([module(s[k - 1], t, k) for k in range(1, len(s) + 1)])


def loss_over(s, targets):
    """Return the mean loss over student layers, [B]."""
    each = [
        token_mse(a, b) if a.dim() == 2 else hidden_mse(a, b, REAL) for a, b in zip(s, targets, strict=True)
    ]
    return sum(each) / len(each)


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
    ("student", "teacher", "reach", "sentence"),
    [
        (2, 4, "some", "reach must be one of all, prefix, buckets, neighbours, got 'some'"),
        (
            6,
            3,
            "buckets",
            "reach buckets gives student layer 1 of 6 no teacher layer, because the teacher has 3 layers",
        ),
        (6, 3, "prefix", "gives student layer 1 of 6 no teacher layer"),
    ],
)
def test_impossible_reach_raises(student, teacher, reach, sentence):
    with pytest.raises(ValueError, match=sentence):
        LayerAttention(student, teacher, reach)


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
            expected.append(
                sum(score / sum(scores) * state for score, state in zip(scores, states, strict=True))
            )
        assert_close(found, torch.stack(expected).view(shape))


@pytest.mark.parametrize(
    ("name", "reach"), [("alp_kd_cls", "all"), ("alp_kd_tokens", "all"), ("alp_kd_tokens_prefix", "prefix")]
)
def test_attention_equals_the_original(golden, name, reach):
    d = golden(name, torch.float64)
    mu = d["opt_mu"]
    student = d["in_student_hidden"].requires_grad_()
    s, t = student[1:], d["in_teacher_hidden"][1:]
    if name.endswith("cls"):
        s, t = s[:, :, 0], t[:, :, 0]
    module = LayerAttention(6, 12, reach)

    targets = targets_of_attention(module, s, t)
    assert_close(targets, d["out_targets"], rtol=1e-9, atol=1e-12)
    for layer, weights in enumerate(d["out_weights"], start=1):
        assert_close(module.weights(s[layer - 1], t, layer), weights[..., : len(module.reached[layer])])

    each = mu * loss_over(s, targets)
    assert_close(each, d["out_each_sentence_alone_hidden"], rtol=1e-9, atol=0)
    assert each.mean().item() == pytest.approx(d["out_hidden_loss"], rel=1e-9)
    each.mean().backward()
    assert_close(student.grad, d["grad_student_hidden"], rtol=1e-9, atol=1e-12)


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
            "layer 1 is out of range: an aggregated layer is one of 2 to 4",
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


FILES = {
    # file: form, gated layers, pairs (student layer, index of the aggregate), number of layers in the mean
    "lad": ("lad", range(12), [(k, 2 * k) for k in range(1, 7)]),
    "lad_cls": ("lad", range(12), [(k, 2 * k) for k in range(1, 7)]),
    "lad_user_mapping": ("lad", range(12), [(6, 12), (5, 10), (2, 3)]),
    "lad_reverse": ("reverse", range(12), [(k, 2 * k) for k in range(1, 7)]),
    "lad_partial": ("lad", range(4), [(1, 2), (2, 4)]),
    "lad_no": ("no", [2, 4, 6, 8, 10, 12], [(k, k) for k in range(1, 7)]),
    "lad_no_4layers": ("no", [3, 6, 9, 12], [(k, k) for k in range(1, 5)]),
}


@pytest.mark.parametrize("name", FILES)
def test_gates_equal_the_original(golden, name):
    """With recurrence, the original has one more gate, which is never used."""
    form, layers, pairs = FILES[name]
    d = golden(name, torch.float64)
    module = Gates(12, 24, form, layers).double() if form == "no" else Gates(len(layers), 24, form).double()
    unused = 0 if form == "no" else 1
    rows = {
        "linear.weight": "gate_weight",
        "linear.bias": "gate_bias",
        "norm.weight": "norm_weight",
        "norm.bias": "norm_bias",
    }
    for number, gate in enumerate(module.gates, start=unused):
        gate.load_state_dict({ours: d[f"in_{theirs}"][number] for ours, theirs in rows.items()})
    student = d["in_student_hidden"].requires_grad_()
    s, t = student, d["in_teacher_hidden"][1:]
    if name == "lad_cls":
        s, t = s[:, :, 0], t[:, :, 0]

    aggregates = module(t if form == "no" else t[: len(layers)])

    recorded = d["out_aggregates"]
    for ours, theirs in zip(aggregates, recorded.flip(0) if form == "reverse" else recorded, strict=True):
        assert_close(ours, theirs, rtol=1e-9, atol=1e-12)

    targets = [aggregates[end - 1] for _, end in pairs]
    states = [s[k] for k, _ in pairs]
    if name == "lad_partial":
        states += [s[k] for k in range(3, 7)]
        targets += [t[j - 1] for j in (6, 8, 10, 12)]
    each = loss_over(states, targets) * len(states) / d["opt_student_layers"] * d["opt_mu"]
    assert_close(each, d["out_each_sentence_alone_hidden"], rtol=1e-9, atol=0)
    each.mean().backward()
    assert_close(student.grad, d["grad_student_hidden"], rtol=1e-9, atol=1e-12)
    for number, gate in enumerate(module.gates, start=unused):
        for ours, theirs in rows.items():
            recorded, gradient = d[f"grad_{theirs}"][number], gate.get_parameter(ours).grad
            if gradient is None:  # top-down, no student layer learns the aggregate that ends at layer 1
                assert (name, number) == ("lad_reverse", 11)
                gradient = torch.zeros_like(recorded)
            assert_close(gradient, recorded, rtol=1e-8, atol=1e-11)
    if unused:
        assert d["grad_gate_weight"][0].abs().max() == 0
