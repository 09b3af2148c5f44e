"""The tensors that a forward pass exposes (Signals), and the request for them (Wanted)."""

from collections import UserDict
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Optional

from torch import Tensor

from .losses import Compressed, Compression


@dataclass(frozen=True)
class Wanted:
    """The signals that a loss needs. Nothing else is computed.

    logits      the classification head's output, or the masked-LM head's input
    states      hidden states by number: 0 = embedding output, k = output of layer k
    attention   layers, from 1, whose attention scores are exposed
    projections layers, from 1, whose queries, keys and values are exposed
    first       states needed at position 0 only
    compressed  states needed in compressed form, as (state, compression)

    The last two are for teachers only. A model exposes whole states instead (`exposed`).
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
        """Create a Wanted from any iterables."""
        return cls(
            logits,
            frozenset(states),
            frozenset(attention),
            frozenset(projections),
            frozenset(first),
            frozenset(compressed),
        )

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
        """Return the signals that a model must expose: whole states instead of `first` and `compressed`."""
        ranked_by = {how.ranking for _, how in self.compressed} - {None}
        states = self.states | self.first | {number for number, _ in self.compressed}
        return Wanted(self.logits, states, self.attention | ranked_by, self.projections)

    def depth(self, layers: int) -> int:
        """Return how many of `layers` layers must run, fully or in part."""
        if self.logits:
            return layers
        return max(self.states | self.attention | self.projections, default=0)

    def runs_fully(self, layer: int, layers: int) -> bool:
        """Return whether layer `layer` must run fully.

        Attention scores and projections of the topmost layer need only its first half.
        """
        return self.logits or layer < self.depth(layers) or layer in self.states


class AttentionScores(UserDict[int, Tensor]):
    """Attention scores by layer, [B, A, T, T]; those of a model are computed when they are first read.

    Losses that compute scores in blocks read the queries and keys in `factors` instead.
    """

    def __init__(self, scores: Mapping[int, Tensor], factors: Mapping[int, tuple[Tensor, Tensor]]) -> None:
        super().__init__(scores)
        self.factors = factors

    def __missing__(self, layer: int) -> Tensor:
        queries, keys = self.factors[layer]
        self[layer] = (queries * queries.size(-1) ** -0.5) @ keys.transpose(-2, -1)
        return self[layer]

    def __contains__(self, layer: object) -> bool:
        return layer in self.data or layer in self.factors

    def __iter__(self) -> Iterator[int]:
        return iter({**self.data, **self.factors})

    def __len__(self) -> int:
        return len(self.data.keys() | self.factors.keys())


@dataclass
class Signals:
    """The tensors exposed by one forward pass over B sentences of up to T tokens.

    mask       [B, T]              bool, True = real token (special tokens are real)
    logits     [B, C]              class logits, or [B, 1] for regression
    states     {k: [B, T, H]}      0 = embedding output, k = output of layer k; [B, 1, H] if only position 0 is needed
    attention  {k: [B, A, T, T]}   Q K^T / sqrt(d) of layer k, before mask and softmax (`AttentionScores`)
    attention_factors  {k: (Q, K)}  queries and keys [B, A, T, d] of these layers, if a model computed them
    queries, keys, values  {k: [B, A, T, d]}
    compressed {(k, how): Compressed}   state k, compressed by `how`
    masked     [M, H]              top states at the M masked positions, instead of logits
    lm_head    [n, H] -> [n, V]    computes the word logits of n of these states at a time, which saves memory
    lm_head_weights                parameters of lm_head; torch's DDP searches the output for tensors with gradients
    """

    mask: Tensor
    logits: Optional[Tensor] = None
    states: dict[int, Tensor] = field(default_factory=dict)
    attention: MutableMapping[int, Tensor] = field(default_factory=dict)
    attention_factors: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict)
    queries: dict[int, Tensor] = field(default_factory=dict)
    keys: dict[int, Tensor] = field(default_factory=dict)
    values: dict[int, Tensor] = field(default_factory=dict)
    compressed: dict[tuple[int, Compression], Compressed] = field(default_factory=dict)
    masked: Optional[Tensor] = None
    lm_head: Optional[Callable[[Tensor], Tensor]] = None
    lm_head_weights: list[Tensor] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.attention = AttentionScores(self.attention, self.attention_factors)

    def tensors(self) -> list[Tensor]:
        """Return all exposed tensors except the mask."""
        exposed = [tensor for tensor in (self.logits, self.masked) if tensor is not None]
        for by_number in (self.states, self.attention, self.queries, self.keys, self.values):
            exposed += by_number.values()
        return exposed + [kept.values for kept in self.compressed.values()]

    def __getitem__(self, index: int) -> Tensor:
        """Return one of the `tensors`. torch's backward hooks, such as fairseq's NaN detector, use the first."""
        return self.tensors()[index]
