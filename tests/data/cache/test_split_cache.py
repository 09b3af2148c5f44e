"""Concurrent writers of one cache leave every row valid, even if their bits differ."""

import multiprocessing

import numpy as np
import pytest
import torch

from fairseq_kd.data.cache import SplitCache, record_file
from fairseq_kd.data.cache.codecs import DenseCodec
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
