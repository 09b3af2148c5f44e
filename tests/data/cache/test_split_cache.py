"""Rows are valid or missing, also with concurrent writers of one cache, even if their bits differ."""

import multiprocessing

import numpy as np
import pytest
import torch

from fairseq_kd.data.cache import SplitCache, record_file
from fairseq_kd.data.cache.codecs import DenseCodec
from fairseq_kd.errors import CannotStart
from fairseq_kd.signals import Signals

ROWS, NUMBERS = 60, 500
TOKENS = torch.arange(4 * ROWS).view(ROWS, 4)
EXAMPLES = [{"tokens": tokens} for tokens in TOKENS]
FORK = multiprocessing.get_context("fork")


@pytest.fixture
def rows(tmp_path):
    made = SplitCache(
        tmp_path / "train", [DenseCodec("logits", (NUMBERS,), "logits")], "fp32", np.full(ROWS, 4), "hash"
    )
    made.create_files()
    return made


def write(rows: SplitCache, row: int, number: float) -> None:
    mask = torch.ones(1, 4, dtype=torch.bool)
    rows.write([row], TOKENS[[row]], Signals(mask, logits=torch.full((1, NUMBERS), number)))


def read(rows: SplitCache, row: int) -> set[float]:
    """Return the set of values of a row; all values of a row are equal."""
    found = rows.read(row, TOKENS[row])
    assert found is not None, f"row {row} is damaged"
    return set(np.frombuffer(found[0], np.float32).tolist())


def together(*works) -> None:
    """Run each function in its own process."""
    processes = [FORK.Process(target=work) for work in works]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * len(works)


def raced(first, second):
    """Run two writers of row 3: the second writes while the first pauses between its record and its checksum."""
    begun, done = FORK.Event(), FORK.Event()
    write_all = record_file._write_all

    def pausing(file, content, at):
        if len(content) == 4:
            record_file._write_all = write_all
            begun.set()
            done.wait(1)
        write_all(file, content, at)

    def run_first():
        record_file._write_all = pausing
        first()

    def run_second():
        begun.wait(30)
        second()
        done.set()

    together(run_first, run_second)


@pytest.mark.slow
def test_writer_that_pauses_between_record_and_checksum_wins(rows):
    """Without a lock, the record of the second writer would have the checksum of the first."""
    raced(lambda: write(rows, 3, 1.0), lambda: write(rows, 3, 2.0))
    assert read(rows, 3) == {1.0}


def test_four_writers_of_all_rows_leave_valid_rows(rows):
    def up():
        for row in range(ROWS):
            write(rows, row, 1.0)

    def down():
        for row in reversed(range(ROWS)):
            write(rows, row, 2.0)

    together(up, down, up, down)
    assert all(read(rows, row) in ({1.0}, {2.0}) for row in range(ROWS))
    assert rows.invalid_rows(EXAMPLES).tolist() == []


def test_row_is_invalid_until_it_is_complete(rows):
    assert rows.invalid_rows(EXAMPLES).tolist() == list(range(ROWS))
    for row in range(ROWS):
        write(rows, row, 1.0)
    content = np.memmap(rows.folder / "logits.fp32.bin", np.float32, mode="r+").reshape(ROWS, NUMBERS)
    damaged = [7, 8, 59]
    content[damaged, 100] = 3.0
    assert rows.invalid_rows(EXAMPLES).tolist() == damaged
    for row in damaged:
        write(rows, row, 1.0)
    assert rows.invalid_rows(EXAMPLES).tolist() == []


def test_row_belongs_to_its_tokens(rows):
    write(rows, 3, 1.0)
    assert rows.read(3, TOKENS[3]) is not None
    assert rows.read(3, TOKENS[4]) is None


def test_a_row_lacks_all_signals_if_it_lacks_one(rows, tmp_path):
    """A writer was killed between two records."""
    state = DenseCodec("state-1", ("n", 2), "states", 1)
    both = SplitCache(tmp_path / "train", [*rows.codecs, state], "fp32", rows.tokens, "hash")
    both.create_files()
    write(rows, 3, 1.0)
    assert rows.read(3, TOKENS[3]) is not None
    assert both.read(3, TOKENS[3]) is None
    assert [codec.name for codec in both.missing()] == ["logits", "state-1"]


def test_a_disk_that_keeps_nothing_is_an_error(rows, monkeypatch):
    monkeypatch.setattr(record_file.RecordFile, "write", lambda *_: None)
    write(rows, 3, 1.0)
    with pytest.raises(CannotStart, match=r"--teacher-cache \S+train lost data that was written to it: name"):
        rows.read_batch([3], TOKENS[[3]])


def test_numbers_too_large_for_the_precision_are_an_error(rows, tmp_path):
    half = SplitCache(tmp_path / "train", rows.codecs, "fp16", rows.tokens, "hash")
    half.create_files()
    with pytest.raises(SystemExit, match="logits: --cache-precision fp16 has no number above 65504"):
        write(half, 0, 1e5)


@pytest.mark.parametrize(
    ("name", "content", "found"),
    [
        ("logits.fp32.bin", "more", r"has a damaged file \S+logits.fp32.bin .*: remove it"),
        ("rows.json", "{", r"has an invalid rows\.json .*: remove that folder, or name"),
        ("rows.json", "null", r"has an invalid rows\.json"),
        (
            "rows.json",
            '{"rows": 60}',
            r"has other data than this train \(60 rows, now 60; or other tokens\): name",
        ),
    ],
)
def test_damaged_files_and_other_data_are_refused(rows, name, content, found):
    (rows.folder / name).write_text(content)
    with pytest.raises(CannotStart, match=rf"--teacher-cache .*{found}"):
        SplitCache(rows.folder, rows.codecs, "fp32", rows.tokens, "hash").missing()
