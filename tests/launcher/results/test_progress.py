import io
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from launcher.datasets import Data
from launcher.planning.job import Job
from launcher.results.progress import Progress, format_outcome, summary
from launcher.results.runs import Outcome

# One hundred updates of 16 sentences in ten epochs.
DATA = Data(Path("d"), 160, "accuracy", ("valid",), "d")
DONE = Outcome({"metric": "accuracy", "best": 81.234, "seconds": 71.6})


@pytest.mark.parametrize(
    ("outcome", "text"),
    [
        (DONE, "accuracy 81.23 in 72 s"),
        (replace(DONE, skipped=True), "accuracy 81.23, finished before"),
        (replace(DONE, note="no predictions"), "accuracy 81.23 in 72 s; no predictions"),
        (Outcome(None, "exit status 1"), "FAILED, exit status 1"),
        (Outcome(None, "another launcher has it", skipped=True), "skipped, another launcher has it"),
    ],
)
def test_an_outcome_as_text(outcome, text):
    assert format_outcome(outcome) == text


def test_the_summary_names_the_runs_of_each_problem():
    outcomes = {f"failed{number}": Outcome(None, "exit status 1") for number in range(12)}
    outcomes |= {"done": DONE, "noted": replace(DONE, note="no predictions")}
    first, second = summary(outcomes)
    assert first.startswith("12 without a result, ")
    assert first.endswith("failed9 and 2 more)")
    assert second.endswith("(noted)")


@pytest.fixture
def jobs(spec, tmp_path) -> list[Job]:
    jobs = []
    for seed in (1, 2, 3):
        run = replace(spec, seed=seed)
        (tmp_path / run.name).mkdir()
        jobs.append(Job(run, tmp_path / run.name, DATA, "fairseq-train", True, tmp_path / "model.pt"))
    return jobs


def log(job: Job, updates: int) -> None:
    (job.folder / "log.txt").write_text(f'{{"num_updates": "{updates}"}}')


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_the_time_left_is_that_of_all_updates_at_the_speed_so_far(jobs):
    first, second, third = jobs
    clock = Clock()
    progress = Progress(jobs, clock)
    assert progress.seconds_left is None
    progress.begin(first)
    progress.renderable()
    clock.now += 40  # 2 s an update
    log(first, 20)
    progress.renderable()
    assert progress.seconds_left == 2 * (80 + 200)

    progress.end(second, Outcome(None, "exit status 1"))  # its 100 updates are not trained
    assert progress.seconds_left == 2 * (80 + 100)
    clock.now += 160
    progress.end(first, DONE)
    progress.end(third, replace(DONE, skipped=True))
    assert (progress.trained, list(progress.ended)) == (100, [second.name, first.name, third.name])


@pytest.mark.parametrize(("resumed", "left"), [(True, 15), (False, 45)])
def test_updates_before_an_interruption_do_not_count_as_speed(jobs, resumed, left):
    """Without a checkpoint the run starts again, and its old log does not count."""
    job = jobs[0]
    log(job, 60)
    if resumed:
        (job.folder / "checkpoint_last.pt").touch()
    clock = Clock()
    progress = Progress([job], clock)
    progress.begin(job)
    (job.folder / "log.txt").unlink()
    progress.renderable()
    clock.now += 5
    log(job, 70 if resumed else 10)
    progress.renderable()
    assert progress.seconds_left == left  # half a second for each update


def test_without_a_terminal_there_are_lines(jobs, capsys):
    job, other, _ = jobs
    progress = Progress([job, other])
    with progress.showing():
        progress.begin(job)
        progress.end(job, DONE)
        progress.end(other, Outcome(None, "another launcher is training it", skipped=True))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"start {job.name}"
    assert lines[1].startswith(f"[1/2] {job.name}: accuracy 81.23 in 72 s")
    assert lines[2:] == [f"[2/2] {other.name}: skipped, another launcher is training it"]


def test_with_a_terminal_there_is_a_live_table(monkeypatch, jobs):
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("TERM", "xterm")
    progress = Progress(jobs)
    with progress.showing():
        progress.begin(jobs[0])
        log(jobs[0], 50)
        progress.end(jobs[1], Outcome(None, "exit status 1"))
        console = Console(file=io.StringIO(), width=160)
        console.print(progress.renderable())
        progress.end(jobs[0], DONE)
    table = console.file.getvalue()
    assert "1 ended (1 failed), 1 running, 1 waiting" in table
    assert jobs[0].name in table
    assert "50/100" in table
    assert f"[2/3] {jobs[0].name}" in terminal.getvalue().replace("\n", "")
    assert f"start {jobs[0].name}" not in terminal.getvalue()
