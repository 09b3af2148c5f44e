"""What a student layer learns from several teacher layers at once: attended to, or gated together."""

from collections.abc import Callable, Iterable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .precision import at_least_float32

REACHES = ("all", "prefix", "buckets", "neighbours")
FORMS = ("lad", "reverse", "no")
EPS = 1e-5  # of LayerNorms


class LayerAttention(nn.Module):
    """ALP-KD: what student layer k should equal is a mixture of teacher layers, attended to by its own state.

        e_kl = <q_k, h_t^l> / sqrt(H)    alpha_k = softmax over l of e_k    c_k = sum over l of alpha_kl h_t^l

    l runs over the teacher layers in reach of layer k, with L_s and L_t layers:

        all         1 .. L_t
        prefix      1 .. k L_t / L_s                                   the released code's second version
        buckets     those above (k-1) L_t / L_s, up to k L_t / L_s     ALP-NO: each belongs to one student layer
        neighbours  the bucket and one layer on either side of it      ALP-PO: buckets overlap

    Fractions are rounded, halves to even. The embedding output is not attended to.

    detach  no gradient through alpha: the student moves towards c_k, and does not choose it

    Paper: Passban et al., ALP-KD, AAAI 2021.
    """

    def __init__(self, student_layers: int, teacher_layers: int, reach: str = "all", detach: bool = False):
        super().__init__()
        if reach not in REACHES:
            raise ValueError(f"reach {reach!r} is none of {', '.join(REACHES)}")
        self.detach = detach
        self.reached = {
            layer: _reached(layer, student_layers, teacher_layers, reach)
            for layer in range(1, student_layers + 1)
        }
        for layer, reached in self.reached.items():
            if not reached:
                raise ValueError(
                    f"reach {reach} leaves student layer {layer} of {student_layers} none of the teacher's "
                    f"{teacher_layers} layers"
                )

    def forward(self, student_state: Tensor, teacher_states: Tensor, layer: int) -> Tensor:
        """What student layer `layer`, counted from 1, should equal.

        student_state   [B, H] or [B, T, H], of which each token attends for itself
        teacher_states  [L_t, B, H] or [L_t, B, T, H], states 1..L_t; padded positions finite, such as 0
        Returns the student state's shape, in float32 or better.
        """
        return self.mix(self.weights(student_state, teacher_states, layer), teacher_states, layer)

    def weights(self, student_state: Tensor, teacher_states: Tensor, layer: int) -> Tensor:
        """alpha, [B, l] or [B, T, l]: one number for each teacher layer in `reached[layer]`."""
        attended = self._attended(teacher_states, layer)
        query = student_state.detach() if self.detach else student_state
        dtype = at_least_float32(query, attended)
        query = query.to(dtype) * query.size(-1) ** -0.5
        with torch.autocast(query.device.type, enabled=False):
            return torch.einsum("...h,l...h->...l", query, attended.to(dtype)).softmax(dim=-1)

    def mix(self, weights: Tensor, teacher_states: Tensor, layer: int) -> Tensor:
        """c_k of those weights, [B, H] or [B, T, H]."""
        attended = self._attended(teacher_states, layer)
        with torch.autocast(weights.device.type, enabled=False):
            return torch.einsum("...l,l...h->...h", weights, attended.to(weights.dtype))

    def _attended(self, teacher_states: Tensor, layer: int) -> Tensor:
        reached = self.reached[layer]
        return teacher_states[reached.start - 1 : reached.stop - 1]


class Gates(nn.Module):
    """LAD: gates aggregate the teacher's layers, from the bottom up, into what student layers should equal.

        lad      a_1 = h^1,   a_i = N_i(g_i * h^i + (1 - g_i) * a_{i-1}),   g_i = sigmoid(W_i a_{i-1} + b_i)
        reverse  the same from the top down: a_L = h^L, and h^i is mixed with a_{i+1}
        no       no recurrence: a_i = N_i(g_i * h^i + (1 - g_i) * h^{i-1}),  g_i = sigmoid(W_i h^{i-1} + b_i)

    h are the teacher's states 1..L; N is a LayerNorm over H, so that a token's target is its own.

    teacher_layers  L
    width           H
    layers          of form no: the layers i that are aggregated, from 2 (default: every second)

    Paper: Lin et al., LAD, Sensors 2023.
    Differs from their code: it normalises over the tokens, too, which ties it to one length and lets
    padding in; it holds a gate for the first layer that nothing passes; and in form no, layer 1 is
    mixed with the teacher's last.
    """

    def __init__(
        self, teacher_layers: int, width: int, form: str = "lad", layers: Sequence[int] | None = None
    ):
        super().__init__()
        if form not in FORMS:
            raise ValueError(f"form {form!r} is none of {', '.join(FORMS)}")
        if layers is not None and form != "no":
            raise ValueError(f"form {form} aggregates all {teacher_layers} layers and takes no list of them")
        self.form = form
        self.layers = list(range(2, teacher_layers + 1, 2) if layers is None else layers)
        for layer in self.layers:
            if not 2 <= layer <= teacher_layers:
                raise ValueError(
                    f"layer {layer} has no layer below it among the teacher's 1 to {teacher_layers}"
                )
        count = len(self.layers) if form == "no" else teacher_layers - 1
        self.gates = nn.ModuleList(Gate(width) for _ in range(count))

    def forward(self, teacher_states: Tensor) -> list[Tensor]:
        """The aggregates a_1..a_L; of form no, one for each of `layers`.

        teacher_states  [L, B, H] or [L, B, T, H], states 1..L; padded positions finite, such as 0
        """
        return self.with_gates(teacher_states)[0]

    def with_gates(self, teacher_states: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """The aggregates, and the gates g as large as they, in the order in which they are passed."""
        return self._through(self.gates, teacher_states.unbind())

    def half_open(self, teacher_states: Tensor) -> list[Tensor]:
        """The aggregates of g = 1/2 and a LayerNorm without weights, as new gates have on average; float32."""
        return self._through([_half_open] * len(self.gates), teacher_states.float().unbind())[0]

    def _through(
        self, gates: Iterable[Callable[..., tuple[Tensor, Tensor]]], states: Sequence[Tensor]
    ) -> tuple[list[Tensor], list[Tensor]]:
        if self.form == "no":
            mixed = [
                gate(states[layer - 2], states[layer - 1])
                for gate, layer in zip(gates, self.layers, strict=True)
            ]
            return [aggregate for aggregate, _ in mixed], [passed for _, passed in mixed]

        if self.form == "reverse":
            states = states[::-1]
        aggregates, opened = [states[0]], []
        for gate, state in zip(gates, states[1:], strict=True):
            aggregate, passed = gate(aggregates[-1], state)
            aggregates.append(aggregate)
            opened.append(passed)
        return (aggregates[::-1] if self.form == "reverse" else aggregates), opened


class Gate(nn.Module):
    """How much of a state passes: N(g * state + (1 - g) * before), g = sigmoid(W before + b)."""

    def __init__(self, width: int):
        super().__init__()
        self.linear = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width, eps=EPS)
        nn.init.xavier_uniform_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, before: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """The mixture and g, both of the shape of `state`."""
        before, state = before.to(self.linear.weight.dtype), state.to(self.linear.weight.dtype)
        # Autocast would round the product, and lerp takes one precision alone.
        with torch.autocast(before.device.type, enabled=False):
            opened = F.sigmoid(self.linear(before))
            return self.norm(torch.lerp(before, state, opened)), opened


def _half_open(before: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    opened = torch.full_like(state, 0.5)
    return F.layer_norm(torch.lerp(before, state, opened), state.shape[-1:], eps=EPS), opened


def _reached(layer: int, student_layers: int, teacher_layers: int, reach: str) -> range:
    below, top = (round(k * teacher_layers / student_layers) for k in (layer - 1, layer))
    if reach == "all":
        return range(1, teacher_layers + 1)
    if reach == "prefix":
        return range(1, top + 1)
    if reach == "buckets":
        return range(below + 1, top + 1)
    return range(max(below, 1), min(top + 1, teacher_layers) + 1)
