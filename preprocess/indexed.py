"""Writes fairseq's memory-mapped dataset format (`MMapIndexedDataset`) row by row.

x.bin   indices of all rows, concatenated
x.idx   b"MMIDIDX\\0\\0", version 1 (u64), dtype code (u8), rows N (u64), sizes [N] i32, byte offsets [N] i64
"""

import struct
from array import array
from collections.abc import Sequence
from itertools import accumulate, chain
from pathlib import Path

MAGIC = b"MMIDIDX\x00\x00"
NARROW, WIDE = ("H", 8), ("I", 9)  # array type code and fairseq's dtype code: unsigned, 2 and 4 bytes


class IndexedWriter:
    """Writes rows to `<prefix>.bin` and, at the end, `<prefix>.idx`; byte-identical to fairseq's builder.

        with IndexedWriter("input0/train", vocabulary=50264) as writer:
            writer.add([[5, 6, 2], [7, 2]])

    vocabulary  number of symbols; decides whether an index has 2 or 4 bytes
    """

    def __init__(self, prefix: str | Path, vocabulary: int) -> None:
        self._prefix = prefix
        self._type, self._code = NARROW if vocabulary < 65_500 else WIDE  # fairseq's threshold
        self._sizes = array("i")

    def __enter__(self) -> "IndexedWriter":
        self._bin = Path(f"{self._prefix}.bin").open("wb")
        return self

    def add(self, rows: Sequence[list[int]]) -> None:
        """Append rows of indices."""
        self._sizes.extend(map(len, rows))
        array(self._type, chain.from_iterable(rows)).tofile(self._bin)

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        self._bin.close()
        if error is None:
            self._write_index()

    def _write_index(self) -> None:
        width = array(self._type).itemsize
        ends = accumulate((size * width for size in self._sizes), initial=0)
        offsets = array("q", ends)[:-1]

        with Path(f"{self._prefix}.idx").open("wb") as index:
            index.write(MAGIC + struct.pack("<QBQ", 1, self._code, len(self._sizes)))
            self._sizes.tofile(index)
            offsets.tofile(index)
