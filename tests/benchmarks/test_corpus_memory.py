"""The benchmark of memory writes texts of the given sizes, and measures the memory of a larger piece."""

import sys
from itertools import cycle

import pytest

from benchmarks import corpus_memory
from benchmarks.corpus_memory import MIB, measure, write_file, write_files

LINES = [b"the ferry leaves\n", b"\n", b"nobody said so\n"]


def test_texts_have_the_requested_size(tmp_path):
    endless = cycle(LINES)
    text = write_file(endless, tmp_path / "text", 1000).read_bytes()
    assert 1000 <= len(text) < 1000 + len(LINES[0])
    assert text.startswith(b"".join(LINES) * 20)
    files = sorted(write_files(endless, tmp_path / "files", 3 * corpus_memory.FILE + 1).iterdir())
    assert [corpus_memory.FILE <= file.stat().st_size < corpus_memory.FILE + 20 for file in files] == [
        True
    ] * 3


@pytest.mark.skipif(sys.platform != "linux", reason="reads Linux's peaks of memory")
def test_larger_piece_increases_the_measured_memory(tmp_path):
    (tmp_path / "vocab.txt").write_text(
        "\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghij"])
    )
    (tmp_path / "tokenizer_config.json").write_text('{"do_lower_case": true}')
    text = write_file(cycle(LINES), tmp_path / "text", MIB)
    small, large = (
        measure(text, tmp_path, workers=2, piece=size, longest=MIB) for size in (MIB // 16, MIB // 2)
    )
    assert large.worker > small.worker + 1
    assert 0 < large.first < large.worker
