"""Splits of binarized data as fairseq stores them, each an .idx and a .bin file."""

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fairseq.data import Dictionary, data_utils
from fairseq.data.indexed_dataset import MMapIndexedDataset, infer_dataset_impl

from ..errors import CannotStart


def read_split(path: Path, dictionary: Dictionary, combine: bool, made_by: str):
    """The split's rows, or None where there is none. Raises CannotStart where they cannot be read.

    path     without .idx
    combine  with those of `path`1, `path`2, ..
    made_by  the command that makes such data
    """
    with _readable(path, made_by):
        return data_utils.load_indexed_dataset(str(path), dictionary, combine=combine)


def longest_row(path: Path, made_by: str) -> int:
    """The most tokens of a row, told by the index; the text itself, which fairseq reads through, is left alone."""
    with _readable(path, made_by):
        mapped = infer_dataset_impl(str(path)) == "mmap"
        # Its sizes can be read no longer than it lives.
        index = (
            MMapIndexedDataset.Index(f"{path}.idx") if mapped else data_utils.load_indexed_dataset(str(path))
        )
        return int(index.sizes.max())


@contextmanager
def _readable(path: Path, made_by: str) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, AttributeError, AssertionError, struct.error) as error:
        raise CannotStart(
            f"{path}.idx or .bin cannot be read ({type(error).__name__}: {error}): they may be damaged; make the data again "
            f"with `{made_by}`."
        ) from None
