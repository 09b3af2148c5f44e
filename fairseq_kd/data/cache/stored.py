"""One record of all rows on disk: a file of the records themselves and a file of their checksums, mapped."""

import os
import zlib
from functools import cached_property
from pathlib import Path
from typing import IO

import numpy as np

from .files import held

# Rows whose numbers are held as Python's own, which take ten times the memory.
AT_A_TIME = 1 << 16


class Stored:
    """Reads and writes them row by row.

    path  of the records; that of the checksums ends in .sums
    ends  [N] where the record of each row ends
    """

    def __init__(self, path: Path, ends: np.ndarray) -> None:
        self.path, self.ends = path, ends
        self.bytes = memoryview(np.memmap(path, np.uint8, mode="r"))
        self.sums = np.memmap(path.with_suffix(".sums"), np.uint32, mode="r").reshape(-1, 2)

    def sums_of(self, row: int) -> tuple[int, int]:
        """The checksum of a row's tokens, 0 where it is not written, and that continued over the record."""
        first, second = self.sums[row]
        return int(first), int(second)

    def of(self, row: int) -> memoryview:
        """The record of a row."""
        return self.bytes[self._start(row) : self.ends[row]]

    def is_whole(self, row: int) -> bool:
        """Whether a record is written, and as its checksum says: it is read for that."""
        return bool(self._are_whole(row, row + 1)[0])

    def all_whole(self) -> np.ndarray:
        """The same of each row, bool [N]."""
        parts = (self._are_whole(row, row + AT_A_TIME) for row in range(0, len(self.ends), AT_A_TIME))
        return np.concatenate([np.zeros(0, bool), *parts])

    def write(self, row: int, own: int, record: bytes) -> None:
        """Writes it unless it is there; `own` is the checksum of the row's tokens."""
        record = record.ljust(int(self.ends[row]) - self._start(row), b"\0")
        records, sums = self._open
        # Two at a time, of bits that differ, could leave the record of one and the checksum of the other.
        with held(self.path.with_suffix(".lock"), row):
            if self.is_whole(row) and self.sums_of(row)[0] == own:
                return
            _write_all(records, record, self._start(row))
            _write_all(sums, np.array([own, zlib.crc32(record, own)], np.uint32).tobytes(), 8 * row)

    def _are_whole(self, begin: int, end: int) -> np.ndarray:
        """Those of rows begin .. end - 1. In lists, which Python goes through several times as fast as through arrays."""
        ends = self.ends[begin:end].tolist()
        starts = [self._start(begin), *ends[:-1]]
        whole = (
            first != 0 and zlib.crc32(self.bytes[start:stop], first) == second
            for start, stop, (first, second) in zip(starts, ends, self.sums[begin:end].tolist(), strict=True)
        )
        return np.fromiter(whole, bool, len(ends))

    def _start(self, row: int) -> int:
        return int(self.ends[row - 1]) if row else 0

    @cached_property
    def _open(self) -> tuple[IO[bytes], IO[bytes]]:
        return tuple(open(path, "r+b", buffering=0) for path in (self.path, self.path.with_suffix(".sums")))


def _write_all(file: IO[bytes], content: bytes, at: int) -> None:
    while content:
        done = os.pwrite(file.fileno(), content, at)
        content, at = content[done:], at + done
