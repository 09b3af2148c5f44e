import numpy as np
import pytest
from fairseq.data import Dictionary

from fairseq_kd.data.binarized import files_of_split, longest_row, read_split
from fairseq_kd.errors import CannotStart
from tests.tiny import write_indexed


def write(folder, *splits):
    for number, name in enumerate(splits):
        write_indexed(folder / name, [np.arange(4, 6 + row + number) for row in range(3)])


def test_parts_of_a_split_are_joined(tmp_path):
    write(tmp_path, "train", "train1", "train3")
    rows = read_split(tmp_path / "train", Dictionary(), True, "make")
    assert [len(row) for row in rows] == [2, 3, 4, 3, 4, 5]
    assert len(read_split(tmp_path / "train", Dictionary(), False, "make")) == 3
    assert read_split(tmp_path / "valid", Dictionary(), False, "make") is None
    names = [path.name for path in files_of_split(tmp_path / "train", combine=True)]
    assert names == ["train.idx", "train.bin", "train1.idx", "train1.bin"]


@pytest.mark.parametrize("read", [lambda path: read_split(path, Dictionary(), False, "make"),
                                  lambda path: longest_row(path, "make")])  # fmt: skip
def test_a_damaged_index_is_refused(tmp_path, read):
    write(tmp_path, "train")
    assert longest_row(tmp_path / "train", "make") == 4
    index = tmp_path / "train.idx"
    index.write_bytes(index.read_bytes()[:20])
    with pytest.raises(CannotStart, match=r"train\.idx or \.bin cannot be read .* with `make`"):
        read(tmp_path / "train")
