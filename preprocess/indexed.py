"""fairseq's memory-mapped dataset format (`MMapIndexedDataset`), written whole from numpy arrays.

x.bin   all indices in one row
x.idx   b"MMIDIDX\\0\\0", version 1 (u64), dtype code (u8), rows N (u64), sizes [N] i32, byte offsets [N] i64
"""

import struct
from pathlib import Path

import numpy as np

MAGIC = b"MMIDIDX\x00\x00"
DTYPE_CODES = {np.dtype(np.uint16): 8, np.dtype(np.uint32): 9}


def write_indexed(prefix: str | Path, indices: np.ndarray, lengths: np.ndarray, vocabulary: int) -> None:
    """Writes `<prefix>.bin` and `<prefix>.idx`, byte for byte what fairseq's own builder writes.

    indices     [sum of lengths]
    lengths     [N]
    vocabulary  number of symbols: decides whether an index takes two bytes or four
    """
    dtype = np.dtype(np.uint16 if vocabulary < 65_500 else np.uint32)  # fairseq's threshold
    sizes = lengths.astype(np.int32)
    offsets = np.zeros(len(sizes), np.int64)
    np.cumsum(sizes[:-1], out=offsets[1:])

    Path(f"{prefix}.bin").write_bytes(indices.astype(dtype).tobytes())
    with Path(f"{prefix}.idx").open("wb") as index:
        index.write(MAGIC + struct.pack("<QBQ", 1, DTYPE_CODES[dtype], len(sizes)))
        index.write(sizes.tobytes())
        index.write((offsets * dtype.itemsize).tobytes())


def close_rows(indices: np.ndarray, lengths: np.ndarray, end: int) -> tuple[np.ndarray, np.ndarray]:
    """Appends `end` (end of sentence) to every row: indices [sum + N], lengths + 1."""
    return np.insert(indices, np.cumsum(lengths), end), lengths + 1


def cut_rows(indices: np.ndarray, lengths: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """Keeps the first `kept[i]` indices of row i."""
    starts = np.cumsum(lengths) - lengths
    place = np.arange(len(indices)) - np.repeat(starts, lengths)  # of an index in its row
    return indices[place < np.repeat(kept, lengths)]


def longest_first(first: np.ndarray, second: np.ndarray, room: int) -> tuple[np.ndarray, np.ndarray]:
    """How much of each sentence of a pair is kept so that both fit into `room` tokens.

    The longer one loses tokens, one at a time, until the pair fits; of two equally long ones the
    second. So a sentence no longer than half the room stays whole.
    """
    kept_first = np.minimum(first, np.maximum(room - second, (room + 1) // 2))
    kept_second = np.minimum(second, np.maximum(room - first, room // 2))
    return kept_first, kept_second
