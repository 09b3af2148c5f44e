"""The cached signals of one split, read and written row by row."""

import json
import os
import zlib
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import IO, Any, Optional

import numpy as np
import torch
from torch import Tensor

from ...errors import CannotStart
from ...files import atomic_write, folder_lock
from ...signals import Signals
from .codecs import Codec
from .identity import write_json
from .record_file import RecordFile

FLAG = "--teacher-cache"


class SplitCache:
    """Reads and writes the records of a split's rows; see the package for the format.

    folder     DIR/SPLIT
    codecs     one per record of a row
    precision  of the stored values: fp16, bf16 or fp32
    tokens     [N] number of tokens of each row
    data       hash of the data
    masked     computes the number of masked words of each row [N], if the folder does not have it; None
               without masked words

    Raises CannotStart if the folder has other data.
    """

    def __init__(
        self,
        folder: Path,
        codecs: Sequence[Codec],
        precision: str,
        tokens: np.ndarray,
        data: str,
        masked: Optional[Callable[[], np.ndarray]] = None,
    ) -> None:
        self.folder, self.codecs, self.precision = folder, codecs, precision
        self.tokens = np.asarray(tokens, dtype=np.int64)
        self.data = data
        self.has_masked_words, self._count = masked is not None, masked
        self._check_data()

    def __len__(self) -> int:
        return len(self.tokens)

    def missing(self) -> list[Codec]:
        """Return the codecs that lack records of some rows. Reads the checksums only."""
        return [codec for codec in self.codecs if not self._exists(codec) or not self._written(codec).all()]

    def missing_bytes(self) -> int:
        """Return the size of the files that do not exist yet, in bytes."""
        return sum(map(self._size, self._absent()))

    def create_files(self) -> None:
        """Create the missing files at full size. Raises OSError if the disk is full."""
        self.folder.mkdir(exist_ok=True)
        description, counts = self.folder / "rows.json", self.folder / "masked.npy"
        if self.has_masked_words and not (description.is_file() and counts.is_file()):
            with atomic_write(counts) as file:
                np.save(file, self.masked)
        if not description.is_file():
            write_json(description, self._description)
        self._check_data()

        for codec in self._absent():
            path, size = self._path(codec), self._size(codec)
            for each, own in ((path.with_suffix(".sums"), 4 * len(self)), (path, size - 4 * len(self))):
                with atomic_write(each) as file:
                    _fill_with_zeros(file, own)

    @cached_property
    def masked(self) -> np.ndarray:
        """[N] number of masked words of each row; 0 without masked words."""
        if not self.has_masked_words:
            return np.zeros_like(self.tokens)
        count, self._count = self._count, None
        path = self.folder / "masked.npy"
        # Without rows.json, a killed program may have left masked.npy for other data.
        if path.is_file() and (self.folder / "rows.json").is_file():
            return np.load(path, allow_pickle=False)
        # This masks every row, so it is done once.
        return np.asarray(count(), dtype=np.int64)

    def invalid_rows(self, dataset: Sequence[Mapping[str, Any]]) -> np.ndarray:
        """Return the numbers of rows with a missing or damaged record. Reads all written records.

        dataset  the split's examples, with their `tokens`; and `cached`, the result of `read`, if it serves this cache
        """
        if self._absent():
            return np.arange(len(self))

        def records(row: int) -> Optional[list[bytes]]:
            example = dataset[row]
            return example["cached"] if "cached" in example else self.read(row, example["tokens"])

        written = np.all([self._written(codec) for codec in self.codecs], axis=0)
        return np.flatnonzero([not (written[row] and records(row)) for row in range(len(self))])

    def read(self, row: int, tokens: Tensor) -> Optional[list[bytes]]:
        """Return the records of a row; None if one is missing or damaged, or belongs to other tokens.

        tokens  [n], expected token numbers of the row
        """
        token_sum, records = checksum(tokens), []
        try:
            files = self._files
        except FileNotFoundError:  # not created yet
            return None
        for file in files:
            record = file.read(row, token_sum)
            if record is None:
                return None
            records.append(record)
        return records

    def collate(self, rows: Sequence[int], read: Sequence[Optional[list[bytes]]]) -> dict[str, Any]:
        """Return a batch's entries for the results of `read`.

        cached       {record: {name: tensor}}; absent if a row is None
        cached_rows  name of the split's cache
        """
        batch: dict[str, Any] = {"cached_rows": self.folder.name}
        if all(each is not None for each in read):
            batch["cached"] = {
                codec.name: codec.decode([each[at] for each in read], self._sizes(rows), self.precision)
                for at, codec in enumerate(self.codecs)
            }
        return batch

    def read_batch(self, rows: Sequence[int], tokens: Tensor) -> dict[str, dict[str, Tensor]]:
        """Read rows that have just been written; return `cached` of `collate`.

        tokens  [B, T]

        Raises CannotStart if they are not on the disk.
        """
        sizes = self._sizes(rows)
        read = [self.read(row, own[:n]) for row, own, (n, _) in zip(rows, tokens.cpu(), sizes, strict=True)]
        batch = self.collate(rows, read)
        if "cached" not in batch:
            raise CannotStart(
                f"{FLAG} {self.folder} lost data that was written to it: name a folder on another disk.",
                doing="continue",
            )
        return batch["cached"]

    def restore(self, cached: Mapping[str, Mapping[str, Tensor]], mask: Tensor) -> Signals:
        """Return the signals of a batch in float32 on the mask's device. cached as from `collate`, mask [B, T]."""
        signals = Signals(mask)
        for codec in self.codecs:
            stored = {name: tensor.to(mask.device) for name, tensor in cached[codec.name].items()}
            codec.restore(stored, self.precision, signals)
        return signals

    def write(self, rows: Sequence[int], tokens: Tensor, signals: Signals) -> None:
        """Write the records of a batch's rows, except those that are valid already; tokens [B, T].

        Raises SystemExit if they cannot be written.
        """
        sizes = self._sizes(rows)
        token_sums = [checksum(row[:n]) for row, (n, _) in zip(tokens.cpu(), sizes, strict=True)]
        try:
            for codec, file in zip(self.codecs, self._files, strict=True):
                contents = codec.encode(signals, sizes, self.precision)
                with folder_lock(self.folder):
                    for row, token_sum, content in zip(rows, token_sums, contents, strict=True):
                        file.write(row, token_sum, content)
        except ValueError as error:
            raise SystemExit(
                f"Cannot cache {codec.name}: --cache-precision {error}: use bf16 or fp32."
            ) from None
        except OSError as error:
            raise SystemExit(
                f"Cannot write {self.folder}: {error.strerror}: free some space and repeat the command, which continues "
                "with the rows that are missing."
            ) from None

    def _sizes(self, rows: Sequence[int]) -> list[tuple[int, int]]:
        return [(int(self.tokens[row]), int(self.masked[row])) for row in rows]

    def _check_data(self) -> None:
        path = self.folder / "rows.json"
        if not path.is_file():
            return
        try:
            found = json.loads(path.read_text("utf-8"))
            same, rows = found == self._description, found["rows"]
        except (KeyError, TypeError, ValueError) as error:
            raise CannotStart(
                f"{FLAG} {self.folder} has an invalid rows.json ({type(error).__name__}: {error}): remove that folder, or "
                "name another cache."
            ) from None
        if not same:
            raise CannotStart(
                f"{FLAG} {self.folder} has other data than this {self.folder.name} ({rows} rows, now {len(self)}; or "
                "other tokens): name another folder."
            )

    @property
    def _description(self) -> dict[str, Any]:
        return {"data": self.data, "rows": len(self), "tokens": int(self.tokens.sum())}

    def _absent(self) -> list[Codec]:
        return [codec for codec in self.codecs if not self._exists(codec)]

    def _size(self, codec: Codec) -> int:
        """Return the size of the codec's two files in bytes."""
        return int(self._ends(codec)[-1]) + 4 * len(self)

    def _path(self, codec: Codec) -> Path:
        return self.folder / f"{codec.name}.{self.precision}.bin"

    def _ends(self, codec: Codec) -> np.ndarray:
        """Return the end of each row's record in the file, in bytes, [N]."""
        sizes = np.broadcast_to(codec.bytes(self.tokens, self.masked, self.precision), self.tokens.shape)
        return np.cumsum((sizes + 3) // 4 * 4)

    def _exists(self, codec: Codec) -> bool:
        path = self._path(codec)
        sums = path.with_suffix(".sums")
        if not (path.is_file() and sums.is_file()):
            return False
        expected = int(self._ends(codec)[-1])
        if (path.stat().st_size, sums.stat().st_size) != (expected, 4 * len(self)):
            raise CannotStart(
                f"{FLAG} has a damaged file {path} ({path.stat().st_size} bytes instead of {expected}): remove it, so that "
                "it is written again."
            )
        return True

    def _written(self, codec: Codec) -> np.ndarray:
        """Return which rows are written, bool [N]."""
        return np.fromfile(self._path(codec).with_suffix(".sums"), np.uint32) != 0

    @cached_property
    def _files(self) -> list[RecordFile]:
        return [RecordFile(self._path(codec), self._ends(codec)) for codec in self.codecs]

    def __getstate__(self) -> dict[str, Any]:
        # Worker processes open the files themselves, but must not count the masked words again.
        self.masked  # noqa: B018
        return {name: value for name, value in vars(self).items() if name != "_files"}


def checksum(tokens: Tensor) -> int:
    """Return the CRC-32 of token numbers [n]."""
    return zlib.crc32(tokens.to(torch.int32).numpy().tobytes())


def _fill_with_zeros(file: IO[bytes], size: int) -> None:
    """Extend a new file to `size` bytes, reserving its disk space if possible; OSError if there is too little."""
    if size and hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file.fileno(), 0, size)
    else:
        file.truncate(size)
