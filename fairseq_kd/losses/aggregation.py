"""Targets that combine several teacher layers: attention (ALP-KD) or gates (LAD)."""

from collections.abc import Callable, Iterable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .precision import at_least_float32

REACHES = ("all", "prefix", "buckets", "neighbours")
FORMS = ("lad", "reverse", "no")
EPS = 1e-5  # of LayerNorms


class LayerAttention(nn.Module):
    """ALP-KD: the target of student layer k is an attention-weighted sum of teacher layers.

        e_kl = <q_k, h_t^l> / sqrt(H)    alpha_k = softmax over l of e_k    c_k = sum over l of alpha_kl h_t^l

    The query q_k is the state of student layer k. `reach` sets the teacher layers l that it attends to,
    for a student of L_s layers and a teacher of L_t:

        all         1 .. L_t
        prefix      1 .. k L_t / L_s                                   second version of the released code
        buckets     those above (k-1) L_t / L_s, up to k L_t / L_s     ALP-NO: each belongs to one student layer
        neighbours  the bucket and one layer on either side of it      ALP-PO: buckets overlap

    Fractions are rounded, halves to even. The embedding output is never attended to.

    detach  no gradient flows through alpha, so the student cannot lower the loss by changing the weights

    Raises ValueError for an unknown reach, and if a student layer would attend to no teacher layer.

    Paper: Passban et al., ALP-KD, AAAI 2021.
    """

    def __init__(self, student_layers: int, teacher_layers: int, reach: str = "all", detach: bool = False):
        super().__init__()
        if reach not in REACHES:
            raise ValueError(f"reach must be one of {', '.join(REACHES)}, got {reach!r}")
        self.detach = detach
        self.reached = {
            layer: _reached(layer, student_layers, teacher_layers, reach)
            for layer in range(1, student_layers + 1)
        }
        for layer, reached in self.reached.items():
            if not reached:
                raise ValueError(
                    f"reach {reach} gives student layer {layer} of {student_layers} no teacher layer, because the "
                    f"teacher has {teacher_layers} layers"
                )

    def forward(self, student_state: Tensor, teacher_states: Tensor, layer: int) -> Tensor:
        """Return the target c_k of student layer `layer` (from 1).

        student_state   [B, H], or [B, T, H] where each token attends separately
        teacher_states  [L_t, B, H] or [L_t, B, T, H], states 1..L_t; padded positions finite, such as 0
        Returns a tensor shaped like student_state, in float32 or better.
        """
        return self.mix(self.weights(student_state, teacher_states, layer), teacher_states, layer)

    def weights(self, student_state: Tensor, teacher_states: Tensor, layer: int) -> Tensor:
        """Return alpha [B, l] or [B, T, l]: one weight for each teacher layer in `reached[layer]`."""
        attended = self._attended(teacher_states, layer)
        query = student_state.detach() if self.detach else student_state
        dtype = at_least_float32(query, attended)
        query = query.to(dtype) * query.size(-1) ** -0.5
        with torch.autocast(query.device.type, enabled=False):
            return torch.einsum("...h,l...h->...l", query, attended.to(dtype)).softmax(dim=-1)

    def mix(self, weights: Tensor, teacher_states: Tensor, layer: int) -> Tensor:
        """Return c_k for these weights, [B, H] or [B, T, H]."""
        attended = self._attended(teacher_states, layer)
        with torch.autocast(weights.device.type, enabled=False):
            return torch.einsum("...l,l...h->...h", weights, attended.to(weights.dtype))

    def _attended(self, teacher_states: Tensor, layer: int) -> Tensor:
        reached = self.reached[layer]
        return teacher_states[reached.start - 1 : reached.stop - 1]


class Gates(nn.Module):
    """LAD: gates aggregate the teacher's layers, from the bottom up, into targets for student layers.

        lad      a_1 = h^1,   a_i = N_i(g_i * h^i + (1 - g_i) * a_{i-1}),   g_i = sigmoid(W_i a_{i-1} + b_i)
        reverse  from the top down: a_L = h^L, and h^i is mixed with a_{i+1}
        no       no recurrence: a_i = N_i(g_i * h^i + (1 - g_i) * h^{i-1}),  g_i = sigmoid(W_i h^{i-1} + b_i)

    h are the teacher's states 1..L. N is a LayerNorm over H, so a token's target depends on that token only.

    teacher_layers  L
    width           H
    layers          form no only: the layers i that are aggregated, from 2 (default: every second)

    Raises ValueError for an unknown form, for `layers` with a form other than no, and for a layer out of range.

    Paper: Lin et al., LAD, Sensors 2023.
    Differs from their code in three points. It normalises over the tokens too, which fixes the sentence
    length and lets padding into the target. It has an unused gate for the first layer. In form no, it
    mixes layer 1 with the teacher's last layer.
    """

    def __init__(
        self, teacher_layers: int, width: int, form: str = "lad", layers: Sequence[int] | None = None
    ):
        super().__init__()
        if form not in FORMS:
            raise ValueError(f"form must be one of {', '.join(FORMS)}, got {form!r}")
        if layers is not None and form != "no":
            raise ValueError(
                f"form {form} aggregates all {teacher_layers} layers and takes no list of layers"
            )
        self.form = form
        self.layers = list(range(2, teacher_layers + 1, 2) if layers is None else layers)
        for layer in self.layers:
            if not 2 <= layer <= teacher_layers:
                raise ValueError(
                    f"layer {layer} is out of range: an aggregated layer is one of 2 to {teacher_layers}"
                )
        count = len(self.layers) if form == "no" else teacher_layers - 1
        self.gates = nn.ModuleList(Gate(width) for _ in range(count))

    def forward(self, teacher_states: Tensor) -> list[Tensor]:
        """Return the aggregates a_1..a_L; in form no, one for each of `layers`.

        teacher_states  [L, B, H] or [L, B, T, H], states 1..L; padded positions finite, such as 0
        Returns tensors [B, H] or [B, T, H].
        """
        return self.with_gates(teacher_states)[0]

    def with_gates(self, teacher_states: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Return the aggregates, and the gate values g in the order of computation, shaped like the aggregates."""
        return self._aggregate(self.gates, teacher_states.unbind())

    def half_open(self, teacher_states: Tensor) -> list[Tensor]:
        """Return the aggregates for g = 1/2 and a LayerNorm without weights, in float32.

        New gates have this value on average.
        """
        return self._aggregate([_half_open] * len(self.gates), teacher_states.float().unbind())[0]

    def _aggregate(
        self, gates: Iterable[Callable[..., tuple[Tensor, Tensor]]], states: Sequence[Tensor]
    ) -> tuple[list[Tensor], list[Tensor]]:
        if self.form == "no":
            mixed = [
                gate(states[layer - 2], states[layer - 1])
                for gate, layer in zip(gates, self.layers, strict=True)
            ]
            return [aggregate for aggregate, _ in mixed], [value for _, value in mixed]

        if self.form == "reverse":
            states = states[::-1]
        aggregates, values = [states[0]], []
        for gate, state in zip(gates, states[1:], strict=True):
            aggregate, value = gate(aggregates[-1], state)
            aggregates.append(aggregate)
            values.append(value)
        return (aggregates[::-1] if self.form == "reverse" else aggregates), values


class Gate(nn.Module):
    """One gate of LAD: N(g * state + (1 - g) * before), g = sigmoid(W before + b).

    width  H; W is [H, H], b is [H], N is a LayerNorm over H
    """

    def __init__(self, width: int):
        super().__init__()
        self.linear = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width, eps=EPS)
        nn.init.xavier_uniform_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, before: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Return the gated sum and g, both shaped like `state`.

        before, state  [B, H] or [B, T, H], of equal shape
        """
        before, state = before.to(self.linear.weight.dtype), state.to(self.linear.weight.dtype)
        # Autocast would round the product, and lerp needs equal dtypes.
        with torch.autocast(before.device.type, enabled=False):
            values = F.sigmoid(self.linear(before))
            return self.norm(torch.lerp(before, state, values)), values


def _half_open(before: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    values = torch.full_like(state, 0.5)
    return F.layer_norm(torch.lerp(before, state, values), state.shape[-1:], eps=EPS), values


def _reached(layer: int, student_layers: int, teacher_layers: int, reach: str) -> range:
    below, top = (round(k * teacher_layers / student_layers) for k in (layer - 1, layer))
    if reach == "all":
        return range(1, teacher_layers + 1)
    if reach == "prefix":
        return range(1, top + 1)
    if reach == "buckets":
        return range(below + 1, top + 1)
    return range(max(below, 1), min(top + 1, teacher_layers) + 1)
