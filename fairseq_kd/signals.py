"""What one forward pass exposes (Signals), and which of it is asked for (Wanted)."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Optional

from torch import Tensor

from .losses import Compressed, Compression


@dataclass(frozen=True)
class Wanted:
    """Which signals a loss asks for. Nothing else is computed.

    logits      the classification head's output, or what the masked-LM head is given
    states      hidden states by number: 0 = embedding output, k = output of layer k
    attention   layers, from 1, whose attention scores are exposed
    projections layers, from 1, whose queries, keys and values are exposed
    first       states of which position 0 is enough
    compressed  (state, what is kept of it)

    The last two are asked of teachers. A model exposes whole states (`exposed`).
    """

    logits: bool = False
    states: frozenset[int] = frozenset()
    attention: frozenset[int] = frozenset()
    projections: frozenset[int] = frozenset()
    first: frozenset[int] = frozenset()
    compressed: frozenset[tuple[int, Compression]] = frozenset()

    @classmethod
    def of(
        cls,
        logits: bool = False,
        states: Iterable[int] = (),
        attention: Iterable[int] = (),
        projections: Iterable[int] = (),
        first: Iterable[int] = (),
        compressed: Iterable[tuple[int, Compression]] = (),
    ) -> "Wanted":
        """The same from any iterables."""
        return cls(logits, *map(frozenset, (states, attention, projections, first, compressed)))

    def __or__(self, other: "Wanted") -> "Wanted":
        return Wanted(
            self.logits or other.logits,
            self.states | other.states,
            self.attention | other.attention,
            self.projections | other.projections,
            self.first | other.first,
            self.compressed | other.compressed,
        )

    def __bool__(self) -> bool:
        return any(vars(self).values())

    def exposed(self) -> "Wanted":
        """What a model has to expose for it."""
        ranked_by = {how.ranking for _, how in self.compressed} - {None}
        states = self.states | self.first | {number for number, _ in self.compressed}
        return Wanted(self.logits, states, self.attention | ranked_by, self.projections)

    def depth(self, layers: int) -> int:
        """How many of `layers` layers have to run, wholly or in part."""
        if self.logits:
            return layers
        return max(self.states | self.attention | self.projections, default=0)

    def whole(self, layer: int, layers: int) -> bool:
        """Whether layer number `layer` has to run to its end.

        Attention scores and projections of the topmost layer need its first half alone.
        """
        return self.logits or layer < self.depth(layers) or layer in self.states


@dataclass
class Signals:
    """What one forward pass exposed, for B sentences of up to T tokens.

    mask       [B, T]              bool, True = real token (special tokens are real)
    logits     [B, C]              class scores, or [B, 1] for regression
    states     {k: [B, T, H]}      0 = embedding output, k = output of layer k; [B, 1, H] where position 0 is enough
    attention  {k: [B, A, T, T]}   Q K^T / sqrt(d) of layer k, before mask and softmax
    queries, keys, values  {k: [B, A, T, d]}
    compressed {(k, how): Compressed}   what is kept of state k
    masked     [M, H]              top states at the M masked positions, in place of logits
    lm_head    [n, H] -> [n, V]    makes word scores of some of them, so that no one has to hold all
    lm_head_weights                its parameters as tensors: torch's DDP looks here for what a loss may reach
    """

    mask: Tensor
    logits: Optional[Tensor] = None
    states: dict[int, Tensor] = field(default_factory=dict)
    attention: dict[int, Tensor] = field(default_factory=dict)
    queries: dict[int, Tensor] = field(default_factory=dict)
    keys: dict[int, Tensor] = field(default_factory=dict)
    values: dict[int, Tensor] = field(default_factory=dict)
    compressed: dict[tuple[int, Compression], Compressed] = field(default_factory=dict)
    masked: Optional[Tensor] = None
    lm_head: Optional[Callable[[Tensor], Tensor]] = None
    lm_head_weights: list[Tensor] = field(default_factory=list)

    def tensors(self) -> list[Tensor]:
        """Every exposed tensor but the mask."""
        exposed = [tensor for tensor in (self.logits, self.masked) if tensor is not None]
        for by_number in (self.states, self.attention, self.queries, self.keys, self.values):
            exposed += by_number.values()
        return exposed + [kept.values for kept in self.compressed.values()]

    def __getitem__(self, index: int) -> Tensor:
        """One of the `tensors`: torch's backward hooks, fairseq's search for NaN among them, ask for the first."""
        return self.tensors()[index]
