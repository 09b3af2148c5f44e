import io
import sys
from dataclasses import replace

import pytest
from rich.console import Console

from launcher.datasets import Data
from launcher.planning.job import Job
from launcher.results.display import Lines, LiveTable, display, running_table, told
from launcher.results.outcome import Outcome
from launcher.results.progress import Progress, Running, Snapshot

DONE = Outcome({"metric": "accuracy", "best": 81.234, "seconds": 71.6})


@pytest.fixture
def job(spec, tmp_path) -> Job:
    data = Data(tmp_path, 320, "accuracy", ("valid",), "d")  # 20 batches of 16, in each of ten epochs
    return Job(spec, tmp_path / spec.name, data, "fairseq-train", True, tmp_path / "model.pt")


def test_the_table_shows_what_runs_and_counts_the_rest(job):
    now = Snapshot([Running(job, 50, 90.0), Running(job, 0, None)], ended=4, failed=1, left=3700.0)
    console = Console(file=io.StringIO(), width=120)
    console.print(running_table(now, total=10))
    text = console.file.getvalue()

    assert job.name in text
    assert "50/200" in text
    assert "2 min" in text
    assert "unknown" in text
    assert "3 done, 1 failed, 2 running, 4 waiting; time left: 1 h 02 min" in text

    console.print(running_table(replace(now, held=2), total=10))
    assert "1 done, 1 failed, 2 left to another launcher, 2 running" in console.file.getvalue()


@pytest.mark.parametrize(
    ("outcome", "words"),
    [
        (DONE, "accuracy 81.23 in 72 s"),
        (Outcome(DONE.result, skipped=True), "accuracy 81.23, finished before"),
        (Outcome(DONE.result, note="no predictions"), "accuracy 81.23 in 72 s; no predictions"),
        (Outcome(None, "exit status 1"), "FAILED, exit status 1"),
        (Outcome(None, "another launcher has it", skipped=True), "skipped, another launcher has it"),
    ],
)
def test_an_ending_in_words(outcome, words):
    assert told(outcome) == words


def test_lines_tell_the_time_left(job, spec, capsys):
    other = replace(job, spec=replace(spec, seed=2))
    progress = Progress([job, other], slots=1)
    shown = Lines(progress)
    shown.start(job)
    progress.start(job)
    progress.end(job, DONE)
    shown.end(job, DONE)
    progress.end(other, DONE)
    shown.end(other, DONE)
    assert capsys.readouterr().out.splitlines() == [
        f"start {job.name}",
        f"[1/2] {job.name}: accuracy 81.23 in 72 s; 72 s left",
        f"[2/2] {other.name}: accuracy 81.23 in 72 s",
    ]


def test_without_a_terminal_there_are_lines(monkeypatch, job):
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    assert type(display(Progress([job], 1))) is Lines


def test_with_a_terminal_there_is_a_table_that_lives(monkeypatch, job):
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("TERM", "xterm")
    progress = Progress([job], 1)
    shown = display(progress)
    assert type(shown) is LiveTable
    with shown.showing():
        progress.start(job)
        shown.start(job)
        progress.end(job, DONE)
        shown.end(job, DONE)
    assert f"[1/1] {job.name}" in terminal.getvalue().replace("\n", "")
