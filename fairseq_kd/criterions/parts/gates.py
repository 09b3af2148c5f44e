"""The part in which gates aggregate teacher layers for the student's."""

import math

import torch
from torch import Tensor

from ...losses import Gates, Widen
from ...signals import Signals, Wanted
from .part import Part
from .scope import mean_of_tokens, mse, stacked, wanted_of, within

# At most so many sentences of a training batch tell how the gates fare: all 32 took a fifth of the part's time on a CPU.
MEASURED = 4


class GatedLayers(Part):
    """Hidden states, against aggregates of teacher layers.

    mapping  at which teacher layer the aggregate of each student layer ends
    form     how gates aggregate, see Gates
    partial  student layers, from the bottom, that learn aggregates; the others learn the teacher's states as
             they are; None for all
    scope    cls or tokens, see `scope.py`
    """

    def __init__(self, task, method: str, mapping: str, form: str, partial: int | None, scope: str) -> None:
        super().__init__(task, method)
        self.mapping, self.form, self.scope = mapping, form, scope
        self.pair_layers(mapping, "gates")
        if partial is not None and self.student is not None and not 1 <= partial <= self.student.layers:
            self.problems.append(
                f"--lad-partial {partial} is no number of student layers that learn through gates: give 1 to "
                f"{self.student.layers}."
            )
        if self.problems:
            return

        self.gated = [(i, j) for i, j in self.pairs if partial is None or i <= partial]
        passed = self._passed({j for _, j in self.gated})
        if passed is None:
            return
        # Of what the gates pass, which is the nth of the layers in the order of their numbers.
        self.passed = {layer: number for number, layer in enumerate(passed, start=1)}
        ends = [self.passed[j] for _, j in self.gated] if form == "no" else None
        self.gates = Gates(len(passed), self.teacher.width, form, ends)
        self.widen = Widen(self.student.width, self.teacher.width)
        self.student_wanted = Wanted.of(states=[i for i, _ in self.pairs])
        self.teacher_wanted = wanted_of(scope, {*self.passed, *(j for _, j in self.pairs)})

    def _passed(self, ends: set[int]) -> list[int] | None:
        """The teacher layers that gates pass on their way to these; None, and a problem, where there is no way."""
        if not ends:
            self.problems.append(
                f"--lad-partial leaves none of the pairs of --mapping {self.mapping} to the gates: give a higher number."
            )
            return None
        layers = {
            "lad": range(1, max(ends) + 1),
            "reverse": range(min(ends), self.teacher.layers + 1),
            "no": {layer for end in ends for layer in (end - 1, end)},
        }[self.form]
        if len(layers) < 2:
            self.problems.append(
                f"--mapping {self.mapping} leaves the gates of --lad-form {self.form} a single teacher layer, and nothing "
                "to mix it with: pair other layers."
            )
        elif 0 in layers:
            self.problems.append(
                f"--lad-form no mixes each teacher layer with the one below it, and --mapping {self.mapping} pairs layer "
                "1, which has none: pair layers from 2, or take --lad-form lad."
            )
        else:
            return sorted(layers)
        return None

    def forward(self, student: Signals, teacher: Signals) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss, mean over the pairs [B]; and what says how the gates fare, each [B].

        In training, the latter is the mean over a few sentences of the batch, which stand for the others, too:

        gate_N          mean of a gate, by the teacher layer whose state it lets in; in validation
        gate_mean       of all
        target_norm     root mean square of what student layers learn through gates; 1 at the start, by the LayerNorm
        _target_spread  how much that differs from token to token (or sentence to sentence, of scope cls), as a
                        share of what half-open gates would leave of it in this batch: about 1 at the start; 0 where
                        all targets are alike; 1 where there is nothing to differ from (scope cls, one sentence)
        """
        mask = student.mask
        states = stacked(self.scope, teacher.states, self.passed, mask)
        aggregates, gates = self.gates.with_gates(states)
        targets = self._paired(aggregates)

        loss = 0.0
        for i, j in self.pairs:
            s = self.widen(within(self.scope, student.states[i]), mask if self.scope == "tokens" else None)
            target = targets.get((i, j))
            if target is None:
                target = within(self.scope, teacher.states[j])
            loss = loss + mse(self.scope, s, target, mask)
        return loss / len(self.pairs), self._observed(targets, states, gates, mask)

    @torch.no_grad()
    def _observed(
        self, targets: dict, states: Tensor, gates: list[Tensor], mask: Tensor
    ) -> dict[str, Tensor]:
        sentences, rows = len(mask), self._measured(len(mask))
        states, mask, let_in = states[:, rows], mask[rows], self._let_in()
        opened = torch.stack([gate[rows] for gate in gates], dim=-2).float().mean(dim=-1)
        means = mean_of_tokens(self.scope, opened, mask)  # [B, gates]
        observed = {} if self.training else {f"gate_{j}": means[:, n] for n, j in enumerate(let_in)}

        # The end of a chain, which no gate has passed, is the teacher's own state.
        pairs = [(i, j) for i, j in targets if j in let_in]
        made = torch.stack([targets[pair][rows] for pair in pairs], dim=-2).float()  # [B, T, pairs, H]
        norms = mean_of_tokens(self.scope, made.square().mean(dim=-1), mask).sqrt()
        half_open = self._paired(self.gates.half_open(states))
        reference = torch.stack([half_open[pair] for pair in pairs], dim=-2)
        spread, whole = (_spread(self.scope, x, mask) for x in (made, reference))
        shares = torch.where(whole > 0, spread / whole, 1.0)

        means_of_all = {"gate_mean": means, "target_norm": norms, "_target_spread": shares}
        observed |= {name: each.mean(dim=1) for name, each in means_of_all.items()}
        if len(mask) < sentences:
            observed = {name: each.mean().expand(sentences) for name, each in observed.items()}
        return observed

    def _measured(self, sentences: int) -> slice:
        """Which sentences tell how the gates fare: in training, a few of each batch, evenly spread.

        Of scope cls all, which are compared with each other, and cost little.
        """
        all_of_them = not self.training or self.scope != "tokens"
        return slice(None) if all_of_them else slice(None, None, math.ceil(sentences / MEASURED))

    def _paired(self, aggregates: list[Tensor]) -> dict[tuple[int, int], Tensor]:
        """Of the aggregates, those that student layers learn, by their pairs."""
        numbers = range(len(self.gated)) if self.form == "no" else [self.passed[j] - 1 for _, j in self.gated]
        return dict(zip(self.gated, (aggregates[number] for number in numbers), strict=True))

    def map_row(self) -> str:
        row = []
        for i, j in self.pairs:
            first, last = {"lad": (1, j), "reverse": (j, self.teacher.layers), "no": (j - 1, j)}[self.form]
            row.append(f"{i} <- {first}..{last}" if (i, j) in self.gated else f"{i} <- {j}")
        return "  ".join(row)

    def _let_in(self) -> list[int]:
        """The teacher layers whose states gates let in, in the order of the gates."""
        if self.form == "no":
            return [j for _, j in self.gated]
        return list(self.passed)[1:] if self.form == "lad" else list(self.passed)[-2::-1]


def _spread(scope: str, x: Tensor, mask: Tensor) -> Tensor:
    """Root mean square of the distance from the mean over tokens (of scope cls, sentences), [B, n].

    x  n targets each, [B, T, n, H] or [B, n, H]
    """
    if scope != "tokens":
        return (x - x.mean(dim=0)).square().mean(dim=(0, 2)).sqrt().expand(len(x), -1)
    centred = x - mean_of_tokens(scope, x, mask)[:, None]
    return mean_of_tokens(scope, centred.square().mean(dim=-1), mask).sqrt()
