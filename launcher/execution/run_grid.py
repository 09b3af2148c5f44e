"""Makes the missing data of a grid, prints its plan, or trains its jobs and writes the table of results."""

import contextlib
import shlex
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..files import write_text
from ..planning.expand import origin
from ..planning.job import Job
from ..planning.prerequisites import NotReady, Prerequisites
from ..plugin import importing_project
from ..results import table
from ..results.cells import group_runs
from ..results.progress import Progress, say, summary
from ..results.runs import Outcome, Run, read_result
from .command import predict_command, shell_line, train_command
from .scheduler import LocalExecutor, interruptible, run_jobs, say_interrupted
from .slots import PATIENCE, Slot

FAILED = 1


def make_data(prerequisites: Prerequisites) -> None:
    """Run the command that makes the missing data; raise NotReady if the command fails.

    After an interruption the command has ended when KeyboardInterrupt is raised.
    """
    print(shlex.join(prerequisites.data_command), flush=True)
    # Its own session receives one interrupt only: a second one would interrupt the removal of partial files.
    making = subprocess.Popen(prerequisites.data_command, env=importing_project(), start_new_session=True)
    try:
        making.wait()
    except KeyboardInterrupt:
        making.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            making.wait(PATIENCE)
        raise
    finally:
        making.kill()
    if making.returncode != 0:
        tasks = " and ".join(prerequisites.missing)
        raise NotReady([f"the data of {tasks} could not be made, see the error above"])


def check_origins(jobs: Sequence[Job]) -> None:
    """Raise NotReady if an unfinished job starts from a checkpoint that was removed from a finished job."""
    finished = {job.name: job.folder for job in jobs if read_result(job.folder) is not None}
    needed = {
        origin(finished[name], job.spec, name): (name, job)
        for job in jobs
        if job.name not in finished
        for name in job.after
        if name in finished
    }
    problems = [
        f"{checkpoint} is missing, and {job.name} starts from it, {job.role(name)}: put it back, or delete "
        f"{checkpoint.parent} to train it again"
        for checkpoint, (name, job) in needed.items()
        if not checkpoint.is_file()
    ]
    if problems:
        raise NotReady(problems)


def show(jobs: Sequence[Job], slot: Slot, how: str) -> None:
    """Print the plan and every command.

    how  the jobs are executed, such as "2 at a time"
    """
    for job in jobs:
        finished = read_result(job.folder) is not None
        print(f"# {job.name}{'  (finished)' if finished else ''}")
        for command in (train_command(job), *([predict_command(job)] if job.predicts else [])):
            print(shell_line(command, slot))
    print(f"# {_count(jobs)} in {_places(jobs)}, {how}")


def run_grid(jobs: Sequence[Job], slots: Sequence[Slot], retries: int, folder: Path) -> int:
    """Train the unfinished jobs, print the table and write it to `folder`; return the exit status."""
    progress = Progress(jobs)
    say(
        f"{_count(jobs)}, each with its log.txt in its own folder, in {_places(jobs)}, {len(slots)} at a time"
    )
    executor = LocalExecutor(slots, retries, progress.begin)
    interrupted = False
    with interruptible(), progress.showing():
        try:
            run_jobs(jobs, executor, progress.end)
        except KeyboardInterrupt:
            interrupted = True

    written = print_table(jobs, progress.ended, folder)
    for line in summary(progress.ended):
        say(line)
    if interrupted:
        return say_interrupted()
    well = all(outcome.well for outcome in progress.ended.values())
    return 0 if well and written else FAILED


def print_table(jobs: Sequence[Job], ended: Mapping[str, Outcome], folder: Path) -> bool:
    """Print the table, then write it; return False if it cannot be written, for example on a full disk."""
    # After an interruption, `ended` lacks runs that were finished before.
    outcomes = {job.name: Outcome(read_result(job.folder)) for job in jobs} | dict(ended)
    students = [job for job in jobs if not job.is_teacher]
    metrics = {job.spec.task: job.data.metric for job in students}
    cells = group_runs([Run(job.folder, job.spec, outcomes[job.name].result) for job in students], say)
    markdown = table.markdown(cells, metrics)
    say(f"\n{markdown}")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / "table.md", markdown)
        write_text(folder / "table.csv", table.as_csv(cells, metrics))
    except OSError as error:
        print(
            f"The table could not be written ({error}): free some space, and run the same command again.",
            file=sys.stderr,
        )
        return False
    say(f"Also in {folder / 'table.md'} and {folder / 'table.csv'}")
    return True


def _places(jobs: Sequence[Job]) -> str:
    """Return the parent folders of all jobs: the group, and the folder of teachers."""
    return " and ".join(dict.fromkeys(str(job.folder.parent) for job in jobs))


def _count(jobs: Sequence[Job]) -> str:
    teachers = sum(job.is_teacher for job in jobs)
    counts = {"teacher": teachers, "run": len(jobs) - teachers}
    return " and ".join(f"{number} {name}{'s' * (number != 1)}" for name, number in counts.items() if number)
