"""What a row's record holds of each signal: its size, how it is written, how rows become a batch again."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Optional

import numpy as np
import torch
from torch import Tensor

from ...losses import Compressed, Compression
from ...losses.compression import entries_of, fixed_dimensions, kept_entries
from ...models.shape import ModelShape
from ...precisions import PRECISIONS
from ...signals import Signals, Wanted

NOWHERE = 65535
PROJECTIONS = ("queries", "keys", "values")

# As whole numbers of the same bits: numpy has no bf16, and --fp16 would round what it takes for a float32 of a batch.
BITS = {"fp16": np.int16, "bf16": np.int16, "fp32": np.int32}


@dataclass(frozen=True)
class Dense:
    """A tensor of a shape that a row's n tokens and m masked words decide.

    name    of its files
    dims    the shape; "n" and "m" stand for those of the row
    held    by which field of signals: logits, masked, states, attention or, for all three, projections
    number  of the state or layer; None for logits and masked
    """

    name: str
    dims: tuple[int | str, ...]
    held: str
    number: Optional[int] = None

    @property
    def rows(self) -> bool:
        """False where a batch has no row of its own for each example, but all of them in one."""
        return self.held != "masked"

    def shape(self, n, m) -> tuple:
        """That of a row; of many rows at once, n and m [N]."""
        own = {"n": n, "m": m}
        return tuple(own.get(size, size) for size in self.dims)

    def numbers(self, n, m):
        """How many numbers a row takes; as for `shape`."""
        return math.prod(self.shape(n, m))

    def bytes(self, n, m, precision: str):
        """How many bytes."""
        return self.numbers(n, m) * np.dtype(BITS[precision]).itemsize

    def encode(self, signals: Signals, sizes: Sequence[tuple[int, int]], precision: str) -> list[bytes]:
        """The records of a batch, whose rows have `sizes` (n, m)."""
        batch = as_bits(_get(signals, self.held, self.number), precision)
        if not self.rows:
            ends = np.cumsum([m for _, m in sizes])
            return [part.tobytes() for part in np.split(batch, ends[:-1])]
        return [
            batch[b][tuple(slice(size) for size in self.shape(n, m))].tobytes()
            for b, (n, m) in enumerate(sizes)
        ]

    def decode(
        self, records: Sequence[bytes], sizes: Sequence[tuple[int, int]], precision: str
    ) -> dict[str, Tensor]:
        """The batch's tensor, padded with 0; its bits."""
        rows = [
            np.frombuffer(record, BITS[precision], self.numbers(n, m)).reshape(self.shape(n, m))
            for record, (n, m) in zip(records, sizes, strict=True)
        ]
        return {"values": torch.from_numpy(padded(rows) if self.rows else np.concatenate(rows))}

    def restore(self, stored: dict[str, Tensor], precision: str, signals: Signals) -> None:
        """Gives a batch's tensor to signals, in float32."""
        _put(signals, self.held, self.number, of_bits(stored["values"], precision))


@dataclass(frozen=True)
class Kept:
    """What is kept of hidden states, see `Compressed`."""

    number: int
    how: Compression
    width: int

    @property
    def name(self) -> str:
        return f"compressed-{self.number}-{self.how}"

    def tokens(self, n):
        """How many tokens of n are kept, at most."""
        return n if self.how.tokens is None else np.minimum(self.how.tokens, n)

    def values(self, tokens: int) -> int:
        """How many values are kept of them."""
        return self.how.entries(tokens, self.width)

    def bytes(self, n, m, precision: str):
        tokens = self.tokens(n)
        lengths, which = np.unique(tokens, return_inverse=True)
        values = np.array([self.values(int(length)) for length in lengths])[which]
        index = 4 if self.how.by_sentence else 2 if self.how.by_token else 0
        return (
            values * (np.dtype(BITS[precision]).itemsize + index) + (self.how.tokens is not None) * 2 * tokens
        )

    def encode(self, signals: Signals, sizes: Sequence[tuple[int, int]], precision: str) -> list[bytes]:
        kept = signals.compressed[self.number, self.how]
        values = as_bits(kept.values, precision)
        index = None if kept.index is None else kept.index.cpu().numpy()
        places = (
            None if kept.positions is None else kept.positions.masked_fill(~kept.real, NOWHERE).cpu().numpy()
        )

        records = []
        for b, (n, _) in enumerate(sizes):
            tokens = int(self.tokens(n))
            count = self.values(tokens)
            record = values[b, :count].tobytes()
            if self.how.by_sentence:
                # Those that the sentence has not got would point anywhere.
                record += (
                    np.where(kept.kept[b, :count].cpu().numpy(), index[b, :count], 0).astype("<u4").tobytes()
                )
            elif self.how.by_token:
                record += (index[b, :count] % self.width).astype("<u2").tobytes()
            if places is not None:
                record += places[b, :tokens].astype("<u2").tobytes()
            records.append(record)
        return records

    def decode(
        self, records: Sequence[bytes], sizes: Sequence[tuple[int, int]], precision: str
    ) -> dict[str, Tensor]:
        most = int(max(self.tokens(n) for n, _ in sizes))
        batch = len(records)
        values = np.zeros((batch, self.values(most)), BITS[precision])
        index = np.zeros(values.shape, np.int32)
        places = np.full((batch, most), NOWHERE, np.int32)
        for b, (record, (n, _)) in enumerate(zip(records, sizes, strict=True)):
            tokens = int(self.tokens(n))
            count, at = self.values(tokens), 0
            for out, kind, size in (
                (values, BITS[precision], count),
                (index, "<u4" if self.how.by_sentence else "<u2", count if self._has_index else 0),
                (places, "<u2", tokens if self.how.tokens is not None else 0),
            ):
                out[b, :size] = np.frombuffer(record, kind, size, at)
                at += size * np.dtype(kind).itemsize

        stored = {"values": torch.from_numpy(values)}
        if self._has_index:
            stored["index"] = torch.from_numpy(index)
        if self.how.tokens is not None:
            stored["positions"] = torch.from_numpy(places)
        return stored

    def restore(self, stored: dict[str, Tensor], precision: str, signals: Signals) -> None:
        real, positions = signals.mask, None
        if "positions" in stored:
            positions = stored["positions"].long()
            real = positions.ne(NOWHERE)
            positions = positions.masked_fill(~real, 0)
        index = kept = None
        if self.how.share < 1:
            kept = kept_entries(self.how, real, self.width)
            index = self._index(stored, real)
        values = of_bits(stored["values"], precision)
        signals.compressed[self.number, self.how] = Compressed(values, real, positions, index, kept)

    @property
    def _has_index(self) -> bool:
        return self.how.by_sentence or self.how.by_token

    def _index(self, stored: dict[str, Tensor], real: Tensor) -> Tensor:
        if self.how.by_sentence:
            return stored["index"].long()
        if self.how.by_token:
            dimensions = stored["index"].long().unflatten(1, (real.size(1), -1))
        else:
            fixed = fixed_dimensions(self.how.width, self.how.share, self.width, real.device)
            dimensions = fixed.expand(*real.shape, -1)
        return entries_of(dimensions, self.width)


Record = Dense | Kept


def records_of(wanted: Wanted, shape: ModelShape, classes: Optional[int]) -> list[Record]:
    """The records that hold what is wanted of a teacher of that shape.

    classes  of its logits; None where words are asked for
    """
    width, heads = shape.width, shape.heads
    records: list[Record] = []
    if wanted.logits and classes is not None:
        records.append(Dense("logits", (classes,), "logits"))
    elif wanted.logits:
        records.append(Dense("masked", ("m", width), "masked"))
    of_heads = (3, heads, "n", shape.attention_width // heads)
    records += [Dense(f"state-{k}", ("n", width), "states", k) for k in sorted(wanted.states)]
    records += [Dense(f"first-{k}", (1, width), "states", k) for k in sorted(wanted.first - wanted.states)]
    records += [Dense(f"attention-{k}", (heads, "n", "n"), "attention", k) for k in sorted(wanted.attention)]
    records += [Dense(f"projections-{k}", of_heads, "projections", k) for k in sorted(wanted.projections)]
    compressed = sorted(wanted.compressed, key=lambda each: (each[0], str(each[1])))
    return records + [Kept(k, how, width) for k, how in compressed]


def as_bits(tensor: Tensor, precision: str) -> np.ndarray:
    """The bits of a tensor in a precision, on the host; ValueError where that cannot hold its numbers."""
    found = tensor.detach().to(PRECISIONS[precision])
    if precision == "fp16" and not bool(found.isfinite().all()):
        raise ValueError(f"{precision} holds no number above {torch.finfo(torch.float16).max:.0f}")
    return found.cpu().contiguous().view(torch.int32 if precision == "fp32" else torch.int16).numpy()


def of_bits(bits: Tensor, precision: str) -> Tensor:
    """The reverse, on any device, in float32."""
    return bits.view(PRECISIONS[precision]).float()


def padded(rows: Sequence[np.ndarray]) -> np.ndarray:
    """Arrays of as many dimensions in one, filled up with 0."""
    sizes = np.max([row.shape for row in rows], axis=0)
    batch = np.zeros((len(rows), *sizes), rows[0].dtype)
    for b, row in enumerate(rows):
        batch[b][tuple(slice(size) for size in row.shape)] = row
    return batch


def _get(signals: Signals, held: str, number: Optional[int]) -> Tensor:
    """A batch's tensor, one row after the other."""
    if held == "projections":
        return torch.stack([getattr(signals, name)[number] for name in PROJECTIONS], dim=1)
    tensor = getattr(signals, held)
    return tensor if number is None else tensor[number]


def _put(signals: Signals, held: str, number: Optional[int], tensor: Tensor) -> None:
    """Gives it back."""
    if held == "projections":
        for name, part in zip(PROJECTIONS, tensor.unbind(1), strict=True):
            getattr(signals, name)[number] = part
    elif number is None:
        setattr(signals, held, tensor)
    else:
        getattr(signals, held)[number] = tensor
