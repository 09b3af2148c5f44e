"""One record of all rows on disk: a memory-mapped file of records and one of checksums."""

import os
import zlib
from functools import cached_property
from pathlib import Path
from typing import IO

import numpy as np

from .files import row_lock

# Rows converted to Python lists at once, which need ten times the memory of arrays.
CHUNK_ROWS = 1 << 16


class RecordFile:
    """Reads and writes the records of one codec, row by row.

    path  of the records; the checksums have the suffix .sums
    ends  [N] end of each row's record in the file, in bytes
    """

    def __init__(self, path: Path, ends: np.ndarray) -> None:
        self.path, self.ends = path, ends
        self.bytes = memoryview(np.memmap(path, np.uint8, mode="r"))
        self.sums = np.memmap(path.with_suffix(".sums"), np.uint32, mode="r").reshape(-1, 2)

    def checksums(self, row: int) -> tuple[int, int]:
        """Return the checksum of a row's tokens, and the same continued over its record; 0, 0 if not written."""
        first, second = self.sums[row]
        return int(first), int(second)

    def record(self, row: int) -> memoryview:
        """Return the record of a row."""
        return self.bytes[self._start(row) : self.ends[row]]

    def is_valid(self, row: int) -> bool:
        """Return whether a record is written and matches its checksum. Reads the record."""
        return bool(self._valid(row, row + 1)[0])

    def valid_rows(self) -> np.ndarray:
        """Return `is_valid` of all rows, bool [N]."""
        parts = (self._valid(row, row + CHUNK_ROWS) for row in range(0, len(self.ends), CHUNK_ROWS))
        return np.concatenate([np.zeros(0, bool), *parts])

    def write(self, row: int, token_sum: int, record: bytes) -> None:
        """Write a record, unless the row is valid. token_sum is the checksum of the row's tokens."""
        record = record.ljust(int(self.ends[row]) - self._start(row), b"\0")
        records, sums = self._open
        # Without the lock, two writers of different bits could leave one's record with the other's checksum.
        with row_lock(self.path.with_suffix(".lock"), row):
            if self.is_valid(row) and self.checksums(row)[0] == token_sum:
                return
            _write_all(records, record, self._start(row))
            _write_all(
                sums, np.array([token_sum, zlib.crc32(record, token_sum)], np.uint32).tobytes(), 8 * row
            )

    def _valid(self, begin: int, end: int) -> np.ndarray:
        """Return `is_valid` of rows begin .. end - 1. Lists, because Python iterates them much faster than arrays."""
        ends = self.ends[begin:end].tolist()
        starts = [self._start(begin), *ends[:-1]]
        valid = (
            first != 0 and zlib.crc32(self.bytes[start:stop], first) == second
            for start, stop, (first, second) in zip(starts, ends, self.sums[begin:end].tolist(), strict=True)
        )
        return np.fromiter(valid, bool, len(ends))

    def _start(self, row: int) -> int:
        return int(self.ends[row - 1]) if row else 0

    @cached_property
    def _open(self) -> tuple[IO[bytes], IO[bytes]]:
        return tuple(open(path, "r+b", buffering=0) for path in (self.path, self.path.with_suffix(".sums")))


def _write_all(file: IO[bytes], content: bytes, at: int) -> None:
    while content:
        done = os.pwrite(file.fileno(), content, at)
        content, at = content[done:], at + done
