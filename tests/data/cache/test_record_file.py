import numpy as np
import pytest

from fairseq_kd.data.cache import record_file
from fairseq_kd.data.cache.record_file import RecordFile

TOKENS = 12345  # the checksum of a row's tokens


@pytest.fixture
def file(tmp_path) -> RecordFile:
    ends = np.array([4, 4, 12])
    (tmp_path / "logits.bin").write_bytes(bytes(12))
    (tmp_path / "logits.sums").write_bytes(bytes(4 * 3))
    return RecordFile(tmp_path / "logits.bin", ends)


def test_a_record_is_read_as_it_was_written(file):
    file.write(2, TOKENS, b"1234567")
    assert file.read(2, TOKENS) == b"1234567\0"  # as long as the row
    assert file.read(0, TOKENS) is None
    file.write(1, TOKENS, b"")
    assert file.read(1, TOKENS) == b""


def test_a_record_of_other_tokens_or_that_is_damaged_is_missing(file):
    file.write(0, TOKENS, b"1234")
    assert file.read(0, TOKENS + 1) is None
    np.memmap(file.path, np.uint8, mode="r+")[3] ^= 1
    assert file.read(0, TOKENS) is None
    file.write(0, TOKENS, b"abcd")
    assert file.read(0, TOKENS) == b"abcd"


def test_a_valid_record_is_not_written_again(file):
    file.write(0, TOKENS, b"1234")
    file.write(0, TOKENS, b"abcd")
    assert file.read(0, TOKENS) == b"1234"


def test_a_checksum_is_written_after_its_record(file, monkeypatch):
    """A writer that is killed in between leaves a record that counts as missing."""
    write, calls = record_file._write_all, []

    def killed(*args):
        calls.append(args)
        if len(calls) == 2:
            raise KeyboardInterrupt
        write(*args)

    monkeypatch.setattr(record_file, "_write_all", killed)
    with pytest.raises(KeyboardInterrupt):
        file.write(0, TOKENS, b"1234")
    assert (bytes(file.records[:4]), file.sums[0]) == (b"1234", 0)
    assert file.read(0, TOKENS) is None
