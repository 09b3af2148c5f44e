"""The records of one signal on disk: a memory-mapped file of records, and one of checksums."""

import os
import zlib
from functools import cached_property
from pathlib import Path
from typing import IO, Optional

import numpy as np


class RecordFile:
    """Reads and writes the records of one codec, row by row.

    path  of the records; the checksums have the suffix .sums
    ends  [N] end of each row's record in the file, in bytes
    """

    def __init__(self, path: Path, ends: np.ndarray) -> None:
        self.path, self.ends = path, ends
        self.records = np.memmap(path, np.uint8, mode="r").data
        self.sums = np.memmap(path.with_suffix(".sums"), np.uint32, mode="r")

    def read(self, row: int, token_sum: int) -> Optional[bytes]:
        """Return the record of a row; None if it is missing or damaged, or belongs to other tokens.

        token_sum  CRC-32 of the row's tokens
        """
        # Copy before the check, since another process may be writing the record.
        record = bytes(self.records[self._start(row) : self.ends[row]])
        return record if self.sums[row] == _checksum(record, token_sum) else None

    def write(self, row: int, token_sum: int, record: bytes) -> None:
        """Write a record, unless the row is valid; token_sum as for `read`.

        The caller holds a lock against other writers: two writers of different bits could otherwise leave one's record with
        the other's checksum.
        """
        record = record.ljust(int(self.ends[row]) - self._start(row), b"\0")
        records, sums = self._open
        if self.read(row, token_sum) is None:
            _write_all(records, record, self._start(row))
            _write_all(sums, np.uint32(_checksum(record, token_sum)).tobytes(), 4 * row)

    def _start(self, row: int) -> int:
        return int(self.ends[row - 1]) if row else 0

    @cached_property
    def _open(self) -> tuple[IO[bytes], IO[bytes]]:
        sums = self.path.with_suffix(".sums")
        return open(self.path, "r+b", buffering=0), open(sums, "r+b", buffering=0)


def _checksum(record: bytes, token_sum: int) -> int:
    """Return the CRC-32 of a row's tokens and record, with 0 replaced by 1: 0 means not written."""
    return zlib.crc32(record, token_sum) or 1


def _write_all(file: IO[bytes], content: bytes, at: int) -> None:
    while content:
        done = os.pwrite(file.fileno(), content, at)
        content, at = content[done:], at + done
