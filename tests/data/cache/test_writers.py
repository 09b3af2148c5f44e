"""Several who write the rows of one cache leave each row whole, whatever bits they write."""

import multiprocessing
import shutil

import numpy as np
import pytest
import torch

from fairseq_kd.data.cache import CachedRows, files, stored
from fairseq_kd.data.cache.records import Dense
from fairseq_kd.signals import Signals

ROWS, NUMBERS = 60, 500
TOKENS = torch.arange(4 * ROWS).view(ROWS, 4)
FORK = multiprocessing.get_context("fork")


@pytest.fixture
def rows(tmp_path):
    made = CachedRows(
        tmp_path / "train", [Dense("logits", (NUMBERS,), "logits")], "fp32", np.full(ROWS, 4), "hash"
    )
    make(made)
    return made


def make(rows: CachedRows) -> None:
    for path in rows.make():
        assert path.is_file()


def write(rows: CachedRows, row: int, number: float) -> None:
    mask = torch.ones(1, 4, dtype=torch.bool)
    rows.write([row], TOKENS[[row]], Signals(mask, logits=torch.full((1, NUMBERS), number)))


def read(rows: CachedRows, row: int) -> set[float]:
    """The numbers of a row, which all are the same."""
    found = rows.read(row, TOKENS[row])
    assert found is not None, f"row {row} is damaged"
    return set(np.frombuffer(found[0], np.float32).tolist())


def together(*works) -> None:
    """Each in a process of its own."""
    processes = [FORK.Process(target=work) for work in works]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * len(works)


def raced(rows, meanwhile):
    """Two processes write row 3, the other while the first runs `meanwhile`, between record and sums: the first counts.

    meanwhile  takes two events: set that the other may begin, and that it is done
    """
    begun, done = FORK.Event(), FORK.Event()
    write_all = stored._write_all

    def stopping(file, content, at):
        if len(content) == 8:
            stored._write_all = write_all
            meanwhile(begun, done)
        write_all(file, content, at)

    def first():
        stored._write_all = stopping
        write(rows, 3, 1.0)

    def second():
        begun.wait(30)
        write(rows, 3, 2.0)
        done.set()

    together(first, second)
    assert read(rows, 3) == {1.0}


def test_one_that_stands_still_between_record_and_sums(rows):
    """Record A, record B, sums of B, sums of A: row 3 would be the one's with the checksum of the other."""

    def meanwhile(begun, done):
        begun.set()
        done.wait(1)

    raced(rows, meanwhile)


def test_who_looks_at_the_files_while_it_writes_still_holds_the_row(rows):
    """Closing any descriptor of a file lets go of all that the process has locked there."""

    def meanwhile(begun, done):
        rows.missing()
        write(CachedRows(rows.folder, rows.records, "fp32", rows.tokens, "hash"), 4, 1.0)
        begun.set()
        done.wait(1)

    raced(rows, meanwhile)


def test_a_folder_made_anew_has_locks_of_its_own(rows):
    """Not those of the file of that name that this process had opened before."""
    write(rows, 3, 1.0)
    shutil.rmtree(rows.folder)
    rows = CachedRows(rows.folder, rows.records, "fp32", rows.tokens, "hash")
    make(rows)
    begun, done = FORK.Event(), FORK.Event()
    write_all = stored._write_all

    def slowly(file, content, at):
        if len(content) == 8:
            begun.set()
            done.wait(1)
        write_all(file, content, at)

    def elsewhere():  # which never had the old one open
        begun.wait(30)
        files._opened.cache_clear()
        write(rows, 3, 2.0)
        done.set()

    def here():
        stored._write_all = slowly
        write(rows, 3, 1.0)

    together(here, elsewhere)
    assert read(rows, 3) == {1.0}


def test_two_that_meet_again_and_again(rows):
    def up():
        for row in range(ROWS):
            write(rows, row, 1.0)

    def down():
        for row in reversed(range(ROWS)):
            write(rows, row, 2.0)

    together(up, down, up, down)
    assert all(read(rows, row) in ({1.0}, {2.0}) for row in range(ROWS))
    assert rows.unwritten().tolist() == []


def test_a_row_is_unwritten_until_it_is_whole(rows, monkeypatch):
    monkeypatch.setattr(stored, "AT_A_TIME", 8)  # of 60, so the last ones are fewer
    assert rows.unwritten().tolist() == list(range(ROWS))
    for row in range(ROWS):
        write(rows, row, 1.0)
    content = np.memmap(rows.folder / "logits.fp32.bin", np.float32, mode="r+").reshape(ROWS, NUMBERS)
    damaged = [7, 8, 59]
    content[damaged, 100] = 3.0
    assert rows.unwritten().tolist() == damaged
    for row in damaged:
        write(rows, row, 1.0)
    assert rows.unwritten().tolist() == []
