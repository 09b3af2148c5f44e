"""Reads splits of binarized data, stored by fairseq as .idx and .bin files."""

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Optional

from fairseq.data import Dictionary, data_utils
from fairseq.data.indexed_dataset import MMapIndexedDataset, infer_dataset_impl
from torch.utils.data import Dataset

from ..errors import CannotStart


def read_split(path: Path, dictionary: Dictionary, combine: bool, made_by: str) -> Optional[Dataset]:
    """Return the rows of a split; None if it does not exist. Raises CannotStart if they cannot be read.

    path     path without .idx
    combine  whether to append the rows of `path`1, `path`2, ..
    made_by  command that makes such data, for errors
    """
    with _readable(path, made_by):
        return data_utils.load_indexed_dataset(str(path), dictionary, combine=combine)


def longest_row(path: Path, made_by: str) -> int:
    """Return the length of the longest row in tokens. Unlike fairseq, reads the index only, not the text."""
    with _readable(path, made_by):
        mapped = infer_dataset_impl(str(path)) == "mmap"
        # The sizes are only valid while the index object exists.
        index = (
            MMapIndexedDataset.Index(f"{path}.idx") if mapped else data_utils.load_indexed_dataset(str(path))
        )
        return int(index.sizes.max())


def files_of_split(path: Path, combine: bool) -> list[Path]:
    """Return the files that `read_split` reads: .idx and .bin of `path` and, if combined, of `path`1, `path`2, .."""
    parts = [path]
    while combine and path.with_name(f"{path.name}{len(parts)}.idx").is_file():
        parts.append(path.with_name(f"{path.name}{len(parts)}"))
    return [part.with_name(part.name + suffix) for part in parts for suffix in (".idx", ".bin")]


@contextmanager
def _readable(path: Path, made_by: str) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, AttributeError, AssertionError, struct.error) as error:
        raise CannotStart(
            f"{path}.idx or .bin cannot be read ({type(error).__name__}: {error}): they may be damaged; make the data again "
            f"with `{made_by}`."
        ) from None
