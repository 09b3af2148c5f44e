"""Codecs: each encodes one signal of a batch as one record per row, and decodes the records."""

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

NO_TOKEN = 65535
PROJECTIONS = ("queries", "keys", "values")

# Values are read as integers with the same bits: numpy has no bf16, and --fp16 would round float32 tensors of a batch.
BITS = {"fp16": np.int16, "bf16": np.int16, "fp32": np.int32}


# A count of one row, or the counts of N rows [N].
Count = int | np.ndarray


@dataclass(frozen=True)
class DenseCodec:
    """Codec of a tensor without compression; its shape depends on a row's n tokens and m masked words.

    name    of its files
    dims    shape of a row; "n" and "m" are replaced by the row's numbers
    field   of Signals: logits, masked, states, attention, or projections (queries, keys and values)
    number  of the state or layer; None for logits and masked
    """

    name: str
    dims: tuple[int | str, ...]
    field: str
    number: Optional[int] = None

    @property
    def batched(self) -> bool:
        """Whether axis 0 of the batch's tensor numbers the rows; else the rows are concatenated along it."""
        return self.field != "masked"

    def shape(self, n: Count, m: Count) -> tuple[Count, ...]:
        """Return the shape of a row."""
        sizes = {"n": n, "m": m}
        return tuple(sizes[size] if isinstance(size, str) else size for size in self.dims)

    def count(self, n: Count, m: Count) -> Count:
        """Return how many values a row has."""
        return math.prod(self.shape(n, m))

    def bytes(self, n: Count, m: Count, precision: str) -> Count:
        """Return how many bytes a row has."""
        return self.count(n, m) * np.dtype(BITS[precision]).itemsize

    def encode(self, signals: Signals, sizes: Sequence[tuple[int, int]], precision: str) -> list[bytes]:
        """Return the records of a batch, whose rows have `sizes` (n, m)."""
        batch = to_bits(_get(signals, self.field, self.number), precision)
        if not self.batched:
            ends = np.cumsum([m for _, m in sizes])
            return [part.tobytes() for part in np.split(batch, ends[:-1])]
        return [
            batch[b][tuple(slice(size) for size in self.shape(n, m))].tobytes()
            for b, (n, m) in enumerate(sizes)
        ]

    def decode(
        self, records: Sequence[bytes], sizes: Sequence[tuple[int, int]], precision: str
    ) -> dict[str, Tensor]:
        """Return the batch's tensor as integers with the same bits, padded with 0."""
        rows = [
            np.frombuffer(record, BITS[precision], self.count(n, m)).reshape(self.shape(n, m))
            for record, (n, m) in zip(records, sizes, strict=True)
        ]
        return {"values": torch.from_numpy(pad(rows) if self.batched else np.concatenate(rows))}

    def restore(self, stored: dict[str, Tensor], precision: str, signals: Signals) -> None:
        """Add a decoded tensor to signals, in float32."""
        _put(signals, self.field, self.number, from_bits(stored["values"], precision))


@dataclass(frozen=True)
class CompressedCodec:
    """Codec of compressed hidden states, see `Compressed`.

    number  of the state
    how     its compression
    width   H of the teacher
    """

    number: int
    how: Compression
    width: int

    @property
    def name(self) -> str:
        """Name of its files."""
        return f"compressed-{self.number}-{self.how}"

    def tokens(self, n: Count) -> Count:
        """Return how many of n tokens are kept."""
        return n if self.how.tokens is None else np.minimum(self.how.tokens, n)

    def values(self, tokens: int) -> int:
        """Return how many values are kept of `tokens` kept tokens."""
        return self.how.entries(tokens, self.width)

    def bytes(self, n: np.ndarray, m: np.ndarray, precision: str) -> np.ndarray:
        """Return how many bytes rows have, [N]."""
        tokens = self.tokens(n)
        lengths, which = np.unique(tokens, return_inverse=True)
        values = np.array([self.values(int(length)) for length in lengths])[which]
        index = 4 if self.how.by_sentence else 2 if self.how.by_token else 0
        return (
            values * (np.dtype(BITS[precision]).itemsize + index) + (self.how.tokens is not None) * 2 * tokens
        )

    def encode(self, signals: Signals, sizes: Sequence[tuple[int, int]], precision: str) -> list[bytes]:
        """Return the records of a batch, whose rows have `sizes` (n, m)."""
        kept = signals.compressed[self.number, self.how]
        values = to_bits(kept.values, precision)
        index = None if kept.index is None else kept.index.cpu().numpy()
        positions = (
            None if kept.positions is None else kept.positions.masked_fill(~kept.real, NO_TOKEN).cpu().numpy()
        )

        records = []
        for b, (n, _) in enumerate(sizes):
            tokens = int(self.tokens(n))
            count = self.values(tokens)
            record = values[b, :count].tobytes()
            if self.how.by_sentence:
                # Indices of values that the sentence does not have are arbitrary, and become 0.
                record += (
                    np.where(kept.kept[b, :count].cpu().numpy(), index[b, :count], 0).astype("<u4").tobytes()
                )
            elif self.how.by_token:
                record += (index[b, :count] % self.width).astype("<u2").tobytes()
            if positions is not None:
                record += positions[b, :tokens].astype("<u2").tobytes()
            records.append(record)
        return records

    def decode(
        self, records: Sequence[bytes], sizes: Sequence[tuple[int, int]], precision: str
    ) -> dict[str, Tensor]:
        """Return the batch's tensors, padded: values as bits and, if stored, index and positions."""
        most = int(max(self.tokens(n) for n, _ in sizes))
        batch = len(records)
        values = np.zeros((batch, self.values(most)), BITS[precision])
        index = np.zeros(values.shape, np.int32)
        positions = np.full((batch, most), NO_TOKEN, np.int32)
        for b, (record, (n, _)) in enumerate(zip(records, sizes, strict=True)):
            tokens = int(self.tokens(n))
            count, at = self.values(tokens), 0
            for out, kind, size in (
                (values, BITS[precision], count),
                (index, "<u4" if self.how.by_sentence else "<u2", count if self._has_index else 0),
                (positions, "<u2", tokens if self.how.tokens is not None else 0),
            ):
                out[b, :size] = np.frombuffer(record, kind, size, at)
                at += size * np.dtype(kind).itemsize

        stored = {"values": torch.from_numpy(values)}
        if self._has_index:
            stored["index"] = torch.from_numpy(index)
        if self.how.tokens is not None:
            stored["positions"] = torch.from_numpy(positions)
        return stored

    def restore(self, stored: dict[str, Tensor], precision: str, signals: Signals) -> None:
        """Add decoded tensors to signals, with values in float32."""
        real, positions = signals.mask, None
        if "positions" in stored:
            positions = stored["positions"].long()
            real = positions.ne(NO_TOKEN)
            positions = positions.masked_fill(~real, 0)
        index = kept = None
        if self.how.share < 1:
            kept = kept_entries(self.how, real, self.width)
            index = self._index(stored, real)
        values = from_bits(stored["values"], precision)
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


Codec = DenseCodec | CompressedCodec


def codecs_of(wanted: Wanted, shape: ModelShape, classes: Optional[int]) -> list[Codec]:
    """Return the codecs of all signals in `wanted`, for a teacher of this shape.

    classes  number of classes of the logits; None for masked words
    """
    width, heads = shape.width, shape.heads
    codecs: list[Codec] = []
    if wanted.logits and classes is not None:
        codecs.append(DenseCodec("logits", (classes,), "logits"))
    elif wanted.logits:
        codecs.append(DenseCodec("masked", ("m", width), "masked"))
    first, projections = wanted.first - wanted.states, (3, heads, "n", shape.attention_width // heads)
    codecs += [DenseCodec(f"state-{k}", ("n", width), "states", k) for k in sorted(wanted.states)]
    codecs += [DenseCodec(f"first-{k}", (1, width), "states", k) for k in sorted(first)]
    codecs += [
        DenseCodec(f"attention-{k}", (heads, "n", "n"), "attention", k) for k in sorted(wanted.attention)
    ]
    codecs += [
        DenseCodec(f"projections-{k}", projections, "projections", k) for k in sorted(wanted.projections)
    ]
    compressed = sorted(wanted.compressed, key=lambda each: (each[0], str(each[1])))
    return codecs + [CompressedCodec(k, how, width) for k, how in compressed]


def to_bits(tensor: Tensor, precision: str) -> np.ndarray:
    """Convert a tensor to a precision; return it on the host, as integers with the same bits.

    Raises ValueError if a number is out of range of fp16.
    """
    found = tensor.detach().to(PRECISIONS[precision])
    if precision == "fp16" and not bool(found.isfinite().all()):
        raise ValueError(f"{precision} has no number above {torch.finfo(torch.float16).max:.0f}")
    return found.cpu().contiguous().view(torch.int32 if precision == "fp32" else torch.int16).numpy()


def from_bits(bits: Tensor, precision: str) -> Tensor:
    """Convert integers from `to_bits` back to numbers, in float32, on the same device."""
    return bits.view(PRECISIONS[precision]).float()


def pad(rows: Sequence[np.ndarray]) -> np.ndarray:
    """Stack arrays of different sizes, padded with 0."""
    sizes = np.max([row.shape for row in rows], axis=0)
    batch = np.zeros((len(rows), *sizes), rows[0].dtype)
    for b, row in enumerate(rows):
        batch[b][tuple(slice(size) for size in row.shape)] = row
    return batch


def _get(signals: Signals, field: str, number: Optional[int]) -> Tensor:
    if field == "projections":
        return torch.stack([getattr(signals, name)[number] for name in PROJECTIONS], dim=1)
    tensor = getattr(signals, field)
    return tensor if number is None else tensor[number]


def _put(signals: Signals, field: str, number: Optional[int], tensor: Tensor) -> None:
    if field == "projections":
        for name, part in zip(PROJECTIONS, tensor.unbind(1), strict=True):
            getattr(signals, name)[number] = part
    elif number is None:
        setattr(signals, field, tensor)
    else:
        getattr(signals, field)[number] = tensor
