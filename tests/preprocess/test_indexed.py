import pytest
import torch

from preprocess.indexed import IndexedWriter

ROWS = [[5, 6, 2], [2], [7, 65_000, 9, 2]]


@pytest.mark.parametrize("vocabulary", [65_499, 65_500])
def test_files_are_byte_for_byte_those_of_fairseq(vocabulary, tmp_path):
    from fairseq.data.indexed_dataset import MMapIndexedDataset, make_builder

    builder = make_builder(str(tmp_path / "theirs.bin"), "mmap", vocab_size=vocabulary)
    for row in ROWS:
        builder.add_item(torch.IntTensor(row))
    builder.finalize(str(tmp_path / "theirs.idx"))

    with IndexedWriter(tmp_path / "ours", vocabulary) as writer:
        writer.add(ROWS[:2])
        writer.add(ROWS[2:])

    for ending in ("bin", "idx"):
        assert (tmp_path / f"ours.{ending}").read_bytes() == (tmp_path / f"theirs.{ending}").read_bytes()
    assert [row.tolist() for row in MMapIndexedDataset(str(tmp_path / "ours"))] == ROWS
    width = 2 if vocabulary < 65_500 else 4
    assert (tmp_path / "ours.bin").stat().st_size == width * sum(map(len, ROWS))


def test_a_failure_leaves_no_index(tmp_path):
    with pytest.raises(OverflowError), IndexedWriter(tmp_path / "ours", vocabulary=100) as writer:
        writer.add([[70_000]])
    assert not (tmp_path / "ours.idx").exists()
