"""Transfer of teacher layers that gates aggregate (LAD)."""

import math

import torch
from torch import Tensor

from ...context import DistillationContext
from ...losses import Gates, Widen
from ...signals import Signals, Wanted
from .base import Transfer
from .token_scope import mean_over_tokens, mse, select_tokens, stack_states, teacher_signals

# Maximum sentences of a training batch used for statistics. With all 32, they took a fifth of this module's time on a CPU.
MEASURED = 4


class GatedLayers(Transfer):
    """Transfer of hidden states; targets are aggregates of teacher layers.

    mapping  pairs each student layer with the teacher layer at which its aggregate ends
    form     of the gates, see Gates
    partial  number of student layers, from the bottom, that learn aggregates; the others learn the teacher's
             states; None for all
    scope    cls or tokens, see `token_scope.py`
    """

    def __init__(
        self,
        context: DistillationContext,
        method: str,
        mapping: str,
        form: str,
        partial: int | None,
        scope: str,
    ) -> None:
        super().__init__(context, method)
        self.mapping, self.form, self.scope = mapping, form, scope
        self.pair_layers(mapping, "gates")
        if partial is not None and self.student is not None and not 1 <= partial <= self.student.layers:
            self.errors.append(
                f"--lad-partial {partial} is out of range: the student has {self.student.layers} layers: give 1 to "
                f"{self.student.layers}."
            )
        if self.errors:
            return

        self.gated = [(i, j) for i, j in self.pairs if partial is None or i <= partial]
        aggregated = self._aggregated_layers({j for _, j in self.gated})
        if aggregated is None:
            return
        # Teacher layer -> its position among the layers that the gates aggregate, from 1.
        self.position = {layer: number for number, layer in enumerate(aggregated, start=1)}
        ends = [self.position[j] for _, j in self.gated] if form == "no" else None
        self.gates = Gates(len(aggregated), self.teacher.width, form, ends)
        self.widen = Widen(self.student.width, self.teacher.width)
        self.student_wanted = Wanted.of(states=[i for i, _ in self.pairs])
        self.teacher_wanted = teacher_signals(scope, {*self.position, *(j for _, j in self.pairs)})

    def _aggregated_layers(self, ends: set[int]) -> list[int] | None:
        """Return the teacher layers that gates aggregate up to `ends`; None, after adding an error, if impossible."""
        if not ends:
            self.errors.append(
                f"--lad-partial is below the student layers of all pairs of --mapping {self.mapping}, so no pair has "
                "gates: give a higher number."
            )
            return None
        layers = {
            "lad": range(1, max(ends) + 1),
            "reverse": range(min(ends), self.teacher.layers + 1),
            "no": {layer for end in ends for layer in (end - 1, end)},
        }[self.form]
        if len(layers) < 2:
            self.errors.append(
                f"--mapping {self.mapping} gives the gates of --lad-form {self.form} a single teacher layer, but they mix "
                "at least two: pair other layers."
            )
        elif 0 in layers:
            self.errors.append(
                f"--lad-form no mixes each teacher layer with the one below it, but --mapping {self.mapping} pairs layer "
                "1, which has none: pair layers from 2, or use --lad-form lad."
            )
        else:
            return sorted(layers)
        return None

    def forward(self, student: Signals, teacher: Signals) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss, mean over the pairs [B], and gate statistics, each [B].

        In training with scope tokens, statistics use a few sentences; each sentence of the batch gets their mean.

        gate_N          mean value of the gate for teacher layer N; in validation only
        gate_mean       mean value of all gates
        target_norm     root mean square of the gated targets; 1 at the start, because of the LayerNorm
        _target_spread  variation of the gated targets between tokens (scope cls: sentences), relative to that with
                        half-open gates in this batch: about 1 at the start; 0 if all targets are equal; 1 if there
                        is nothing to compare (scope cls, one sentence)
        """
        mask = student.mask
        states = stack_states(self.scope, teacher.states, self.position, mask)
        aggregates, gates = self.gates.with_gates(states)
        targets = self._paired(aggregates)

        loss = 0.0
        for i, j in self.pairs:
            s = self.widen(
                select_tokens(self.scope, student.states[i]), mask if self.scope == "tokens" else None
            )
            target = targets.get((i, j))
            if target is None:
                target = select_tokens(self.scope, teacher.states[j])
            loss = loss + mse(self.scope, s, target, mask)
        return loss / len(self.pairs), self._observed(targets, states, gates, mask)

    @torch.no_grad()
    def _observed(
        self, targets: dict, states: Tensor, gates: list[Tensor], mask: Tensor
    ) -> dict[str, Tensor]:
        sentences, rows = len(mask), self._measured(len(mask))
        states, mask, gated = states[:, rows], mask[rows], self._gate_layers()
        opened = torch.stack([gate[rows] for gate in gates], dim=-2).float().mean(dim=-1)
        means = mean_over_tokens(self.scope, opened, mask)  # [B, gates]
        observed = {} if self.training else {f"gate_{j}": means[:, n] for n, j in enumerate(gated)}

        # The first aggregate of a chain has no gate: it is the teacher's state.
        pairs = [(i, j) for i, j in targets if j in gated]
        aggregated = torch.stack([targets[pair][rows] for pair in pairs], dim=-2).float()  # [B, T, pairs, H]
        norms = mean_over_tokens(self.scope, aggregated.square().mean(dim=-1), mask).sqrt()
        half_open = self._paired(self.gates.half_open(states))
        reference = torch.stack([half_open[pair] for pair in pairs], dim=-2)
        spread, expected = (_spread(self.scope, x, mask) for x in (aggregated, reference))
        ratios = torch.where(expected > 0, spread / expected, 1.0)

        statistics = {"gate_mean": means, "target_norm": norms, "_target_spread": ratios}
        observed |= {name: each.mean(dim=1) for name, each in statistics.items()}
        if len(mask) < sentences:
            observed = {name: each.mean().expand(sentences) for name, each in observed.items()}
        return observed

    def _measured(self, sentences: int) -> slice:
        """Return the sentences used for gate statistics: in training, a few of each batch, evenly spaced.

        Scope cls uses all, because it compares sentences, at a low cost.
        """
        use_all = not self.training or self.scope != "tokens"
        return slice(None) if use_all else slice(None, None, math.ceil(sentences / MEASURED))

    def _paired(self, aggregates: list[Tensor]) -> dict[tuple[int, int], Tensor]:
        """Return pair -> aggregate for the pairs that learn aggregates."""
        if self.form == "no":
            return dict(zip(self.gated, aggregates, strict=True))
        return {(i, j): aggregates[self.position[j] - 1] for i, j in self.gated}

    def describe_pairs(self) -> str:
        """Describe in one line which teacher layers each student layer learns from."""
        row = []
        for i, j in self.pairs:
            first, last = {"lad": (1, j), "reverse": (j, self.teacher.layers), "no": (j - 1, j)}[self.form]
            row.append(f"{i} <- {first}..{last}" if (i, j) in self.gated else f"{i} <- {j}")
        return "  ".join(row)

    def _gate_layers(self) -> list[int]:
        """Return the teacher layer of each gate, in the order of the gates."""
        if self.form == "no":
            return [j for _, j in self.gated]
        return list(self.position)[1:] if self.form == "lad" else list(self.position)[-2::-1]


def _spread(scope: str, x: Tensor, mask: Tensor) -> Tensor:
    """Return the standard deviation over tokens (scope cls: sentences), as root mean square over H, [B, n].

    x  n targets, [B, T, n, H] or [B, n, H]
    """
    if scope != "tokens":
        return (x - x.mean(dim=0)).square().mean(dim=(0, 2)).sqrt().expand(len(x), -1)
    centred = x - mean_over_tokens(scope, x, mask)[:, None]
    return mean_over_tokens(scope, centred.square().mean(dim=-1), mask).sqrt()
