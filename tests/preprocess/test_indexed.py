import numpy as np
import pytest
import torch

from preprocess.indexed import close_rows, cut_rows, longest_first, write_indexed


@pytest.mark.parametrize("vocabulary", [65_499, 65_500])
def test_files_are_byte_for_byte_those_of_fairseq(vocabulary, tmp_path):
    from fairseq.data.indexed_dataset import MMapIndexedDataset, make_builder

    rows = [[5, 6, 2], [2], [7, 65_000, 9, 2]]
    builder = make_builder(str(tmp_path / "theirs.bin"), "mmap", vocab_size=vocabulary)
    for row in rows:
        builder.add_item(torch.IntTensor(row))
    builder.finalize(str(tmp_path / "theirs.idx"))

    write_indexed(tmp_path / "ours", np.concatenate(rows), np.array([3, 1, 4]), vocabulary)

    for ending in ("bin", "idx"):
        assert (tmp_path / f"ours.{ending}").read_bytes() == (tmp_path / f"theirs.{ending}").read_bytes()
    assert [row.tolist() for row in MMapIndexedDataset(str(tmp_path / "ours"))] == rows


def test_rows_are_closed_also_empty_ones():
    indices, lengths = close_rows(np.array([7, 8, 9]), np.array([2, 0, 1, 0]), end=2)
    assert indices.tolist() == [7, 8, 2, 2, 9, 2, 2]
    assert lengths.tolist() == [3, 1, 2, 1]


def test_rows_are_cut_at_their_ends():
    indices = np.array([1, 2, 3, 4, 5, 6])
    assert cut_rows(indices, np.array([3, 0, 2, 1]), np.array([2, 0, 1, 1])).tolist() == [1, 2, 4, 6]


@pytest.mark.parametrize("room", [2, 7, 8])
def test_longest_first_is_one_token_at_a_time(room):
    pairs = [(a, b) for a in range(12) for b in range(12)]
    first, second = np.array(pairs).T
    kept = longest_first(first, second, room)

    for (a, b), mine in zip(pairs, zip(*kept, strict=True), strict=True):
        while a + b > room:
            a, b = (a - 1, b) if a > b else (a, b - 1)
        assert mine == (a, b)
