"""The stored signals of one split: its files, read and written row by row."""

import json
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Optional

import numpy as np
import torch
from torch import Tensor

from ...errors import CannotStart
from ...files import atomic_write
from ...signals import Signals
from .files import write_json, zeros
from .records import Record
from .stored import Stored

FLAG = "--teacher-cache"


class CachedRows:
    """Reads and writes the records of a split's rows; see the package for the format.

    folder     DIR/SPLIT
    records    what is stored of a row
    precision  fp16, bf16 or fp32
    tokens     [N] how many tokens each row has
    data       hash of the data
    masked     counts the masked words of each row, [N], where that does not stand in the folder; None where none are
               asked for

    Raises CannotStart where the folder holds rows of other data.
    """

    def __init__(
        self,
        folder: Path,
        records: Sequence[Record],
        precision: str,
        tokens: np.ndarray,
        data: str,
        masked: Optional[Callable[[], np.ndarray]] = None,
    ) -> None:
        self.folder, self.records, self.precision = folder, records, precision
        self.tokens = np.asarray(tokens, dtype=np.int64)
        self.data = data
        self.counts_words, self._count = masked is not None, masked
        self._check()

    def __len__(self) -> int:
        return len(self.tokens)

    def missing(self) -> list[Record]:
        """The records that not every row has, as far as is seen without reading them."""
        return [
            record for record in self.records if not self._is_there(record) or not self._sums(record).all()
        ]

    def room(self) -> int:
        """How many bytes the files take that are not there yet."""
        return sum(self._size(record) for record in self._absent())

    def make(self) -> Iterator[Path]:
        """Makes these files, and names each when it is there. OSError where there is no room."""
        self.folder.mkdir(exist_ok=True)
        said, counted = self.folder / "rows.json", self.folder / "masked.npy"
        if self.counts_words and not (said.is_file() and counted.is_file()):
            with atomic_write(counted) as file:
                np.save(file, self.masked)
            yield counted
        if not said.is_file():
            write_json(said, self._of)
            yield said
        self._check()

        for record in self._absent():
            path, size = self._path(record), self._size(record)
            for each, own in ((path.with_suffix(".sums"), 8 * len(self)), (path, size - 8 * len(self))):
                with atomic_write(each) as file:
                    zeros(file, own)
                yield each

    @cached_property
    def masked(self) -> np.ndarray:
        """[N] how many masked words each row has, 0 where none are asked for."""
        if not self.counts_words:
            return np.zeros_like(self.tokens)
        count, self._count = self._count, None
        path = self.folder / "masked.npy"
        # What stands there without the other may have been left by a program that was killed, of other data.
        if path.is_file() and (self.folder / "rows.json").is_file():
            return np.load(path, allow_pickle=False)
        # Which means masking every row, so it is done once.
        return np.asarray(count(), dtype=np.int64)

    def unwritten(self) -> np.ndarray:
        """The numbers of the rows of which a record is missing or damaged: all that is stored is read for it."""
        if self._absent():
            return np.arange(len(self))
        return np.flatnonzero(~np.all([stored.all_whole() for stored in self._stored], axis=0))

    def read(self, row: int, tokens: Tensor) -> list[bytes] | str | None:
        """The records of a row with these tokens; None where one is not written; a sentence where it is of others."""
        own, found = checksum(tokens), []
        try:
            files = self._stored
        except FileNotFoundError:  # not made yet
            return None
        for record, stored in zip(self.records, files, strict=True):
            first, second = stored.sums_of(row)
            if not first:
                return None
            if first != own:
                return (
                    f"{FLAG} {self.folder} holds {record.name} of other tokens than those of row {row}: name another "
                    "folder, or remove this one."
                )
            # A copy, since others may be writing it: what is checked here is what is served.
            content = bytes(stored.of(row))
            if zlib.crc32(content, own) != second:
                return None
            found.append(content)
        return found

    def collate(self, rows: Sequence[int], read: Sequence[list[bytes] | str | None]) -> dict[str, Any]:
        """What a batch has of its rows, as far as all are stored.

        cached       {record: {name: tensor}}, or a sentence that says why these cannot be used
        cached_rows  in which split's cache the rows belong
        """
        batch: dict[str, Any] = {"cached_rows": self.folder.name}
        refused = next((each for each in read if isinstance(each, str)), None)
        if refused is not None:
            batch["cached"] = refused
        elif all(each is not None for each in read):
            batch["cached"] = {
                record.name: record.decode([each[at] for each in read], self._sizes(rows), self.precision)
                for at, record in enumerate(self.records)
            }
        return batch

    def read_batch(self, rows: Sequence[int], tokens: Tensor) -> dict[str, dict[str, Tensor]] | str:
        """What `collate` says of rows that have just been written; tokens [B, T]."""
        sizes = self._sizes(rows)
        read = [self.read(row, own[:n]) for row, own, (n, _) in zip(rows, tokens.cpu(), sizes, strict=True)]
        lost = f"{FLAG} {self.folder} does not hold what was written to it: name a folder on another disk."
        return self.collate(rows, read).get("cached", lost)

    def restore(self, cached: Mapping[str, Mapping[str, Tensor]], mask: Tensor) -> Signals:
        """The signals of a batch from what `collate` found, float32, on the batch's device."""
        signals = Signals(mask)
        for record in self.records:
            stored = {name: tensor.to(mask.device) for name, tensor in cached[record.name].items()}
            record.restore(stored, self.precision, signals)
        return signals

    def write(self, rows: Sequence[int], tokens: Tensor, signals: Signals) -> None:
        """Writes the records of these rows that are not there, from the signals of a batch; tokens [B, T].

        Raises SystemExit where they cannot be written.
        """
        sizes = self._sizes(rows)
        own = [checksum(row[:n]) for row, (n, _) in zip(tokens.cpu(), sizes, strict=True)]
        try:
            for record, stored in zip(self.records, self._stored, strict=True):
                contents = record.encode(signals, sizes, self.precision)
                for row, first, content in zip(rows, own, contents, strict=True):
                    stored.write(row, first, content)
        except ValueError as error:
            raise SystemExit(
                f"Cannot cache {record.name}: --cache-precision {error}: give bf16 or fp32."
            ) from None
        except OSError as error:
            raise SystemExit(
                f"Cannot write {self.folder}: {error.strerror}: what is written is whole; when there is room, the same "
                "command goes on from there."
            ) from None

    def _sizes(self, rows: Sequence[int]) -> list[tuple[int, int]]:
        return [(int(self.tokens[row]), int(self.masked[row])) for row in rows]

    def _check(self) -> None:
        path = self.folder / "rows.json"
        if not path.is_file():
            return
        try:
            there = json.loads(path.read_text("utf-8"))
            same, rows = there == self._of, there["rows"]
        except (KeyError, TypeError, ValueError) as error:
            raise CannotStart(
                f"{FLAG} {self.folder} has a rows.json that cannot be understood ({type(error).__name__}: {error}): remove "
                "that folder, or name another cache."
            ) from None
        if not same:
            raise CannotStart(
                f"{FLAG} {self.folder} is of other data than this {self.folder.name} ({rows} rows, now {len(self)}; or "
                "other tokens): name another folder."
            )

    @property
    def _of(self) -> dict[str, Any]:
        return {"data": self.data, "rows": len(self), "tokens": int(self.tokens.sum())}

    def _absent(self) -> list[Record]:
        return [record for record in self.records if not self._is_there(record)]

    def _size(self, record: Record) -> int:
        """Bytes of its two files."""
        return int(self._ends(record)[-1]) + 8 * len(self)

    def _path(self, record: Record) -> Path:
        return self.folder / f"{record.name}.{self.precision}.bin"

    def _ends(self, record: Record) -> np.ndarray:
        """Where the record of each row ends, [N]."""
        sizes = np.broadcast_to(record.bytes(self.tokens, self.masked, self.precision), self.tokens.shape)
        return np.cumsum((sizes + 3) // 4 * 4)

    def _is_there(self, record: Record) -> bool:
        path = self._path(record)
        sums = path.with_suffix(".sums")
        if not (path.is_file() and sums.is_file()):
            return False
        expected = int(self._ends(record)[-1])
        if (path.stat().st_size, sums.stat().st_size) != (expected, 8 * len(self)):
            raise CannotStart(
                f"{FLAG} has a damaged file {path} ({path.stat().st_size} bytes instead of {expected}): remove it, and it "
                "is written anew."
            )
        return True

    def _sums(self, record: Record) -> np.ndarray:
        """bool [N], which rows are written."""
        return np.fromfile(self._path(record).with_suffix(".sums"), np.uint32).reshape(-1, 2).any(axis=1)

    @cached_property
    def _stored(self) -> list[Stored]:
        return [Stored(self._path(record), self._ends(record)) for record in self.records]

    def __getstate__(self) -> dict[str, Any]:
        # Another process maps the files for itself, and counts nothing.
        self.masked  # noqa: B018
        return {name: value for name, value in vars(self).items() if name != "_stored"}


def checksum(tokens: Tensor) -> int:
    """CRC-32 of token numbers [n]; never 0, which is that of no row."""
    return zlib.crc32(tokens.to(torch.int32).numpy().tobytes()) or 1
