"""`experiments.py status` and `experiments.py cancel`: the state of the runs of a group, and the end of its jobs."""

import shlex
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..arguments import Parser
from ..files import is_locked
from ..results.logs import read_validations, updates_done
from ..results.runs import read_result
from .slurm import RUNNING, Slurm, check_slurm
from .submit_command import FINISHED_FILE
from .submit_grid import LOGS, PROBLEM, SUBMISSION, Submission, read_submission

FINISHED, FAILED, CANCELLED, STOPPED = "finished", "failed", "cancelled", "stopped"
NOT_STARTED = 2  # exit status
METRIC = "--best-checkpoint-metric"


@dataclass(frozen=True)
class Status:
    """The state of a run.

    state   pending, running, finished, failed, cancelled, or stopped (by hand, without the queue)
    score   of the last validation, such as "accuracy 71.2"; empty without one
    reason  of a failed or cancelled run
    """

    folder: Path
    state: str
    updates: int
    score: str = ""
    reason: str = ""


def status_main(arguments: Sequence[str]) -> int:
    """Print a table of the runs of a group; return the exit status."""
    group = _read_group("Print the state and the last score of each run of a group.", arguments)
    folders = run_folders(group)
    if not folders:
        print(f"{group} has no runs: give the --out and --group of the experiments.", file=sys.stderr)
        return NOT_STARTED
    try:
        states = _states(group, folders)
    except ValueError as error:
        print(f"Cannot read the queue: {error}.", file=sys.stderr)
        return NOT_STARTED
    print(render([find_status(folder, states) for folder in folders]))
    return 0


def render(statuses: Sequence[Status]) -> str:
    """Return a table of the runs, the number of runs in each state, and the reasons."""
    rows = [
        ("run", "state", "updates", "last score"),
        *((each.folder.name, each.state, str(each.updates), each.score) for each in statuses),
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
    counts = Counter(each.state for each in statuses)
    reasons = [f"{each.folder.name}: {each.state}, {each.reason}" for each in statuses if each.reason]
    return "\n".join([*lines, ", ".join(f"{count} {state}" for state, count in counts.items()), *reasons])


def cancel_main(arguments: Sequence[str]) -> int:
    """Cancel the jobs of a group; return the exit status."""
    group = _read_group("Cancel the jobs of a group; finished runs and checkpoints remain.", arguments)
    try:
        check_slurm()
        names = cancel(group, Slurm(group / LOGS))
    except ValueError as error:
        print(f"Cannot cancel: {error}.", file=sys.stderr)
        return NOT_STARTED
    print(f"Cancelled {len(names)} runs of {group}.")
    return 0


def cancel(group: Path, queue: Slurm) -> list[str]:
    """Cancel the jobs of a group, and of its teachers unless other groups need these; return the names of the runs."""
    states = queue.states()
    folders = [folder for folder in run_folders(group) if _is_queued(folder, states)]
    needed = {
        path
        for other in (path.parent for path in group.parent.glob(f"*/*/{SUBMISSION}"))
        if other.parent != group and _is_queued(other, states)
        for path in read_submission(other).after
    }
    folders = [folder for folder in folders if folder.parent == group or str(folder) not in needed]
    submissions = {folder: read_submission(folder) for folder in folders}
    for folder, submission in submissions.items():
        replace(submission, cancelled=True).write(folder)
    if submissions:
        queue.cancel([submission.id for submission in submissions.values()])
    return [folder.name for folder in folders]


def _is_queued(folder: Path, states: Mapping[str, str]) -> bool:
    submission = read_submission(folder)
    return submission is not None and submission.id in states


def run_folders(group: Path) -> list[Path]:
    """Return the run directories of a group, after those of the teachers that its jobs wait for."""
    runs = sorted(
        path.parent for pattern in ("*/spec.json", f"*/{SUBMISSION}") for path in group.glob(pattern)
    )
    runs = list(dict.fromkeys(runs))
    after = [Path(path) for run in runs for path in getattr(read_submission(run), "after", ())]
    return list(dict.fromkeys([*(path for path in after if path not in runs), *runs]))


def find_status(folder: Path, states: Mapping[str, str]) -> Status:
    """Return the status of a run.

    states  of the unfinished jobs in the queue, by id
    """
    submission, result = read_submission(folder), read_result(folder)
    queued = states.get(submission.id) if submission else None
    log = max(folder.glob("log*.txt"), key=updates_done, default=folder / "log.txt")
    done = updates_done(log)
    if result is not None and queued is None:
        return Status(folder, FINISHED, done, f"{result['metric']} {result['best']:.4g}")
    score = _last_score(folder, log)
    if queued is not None:
        return Status(folder, queued, done, score)
    if is_locked(folder / "lock"):
        return Status(folder, RUNNING, done, score)
    if (folder / FINISHED_FILE).is_file():
        return Status(folder, FINISHED, done, score)
    if submission is None:
        return Status(folder, STOPPED, done, score)
    return _ended(folder, submission, done, score)


def _ended(folder: Path, submission: Submission, done: int, score: str) -> Status:
    """Return the status of a job that left the queue without a result."""
    if submission.cancelled:
        return Status(folder, CANCELLED, done, score)
    problem = folder / PROBLEM
    if problem.is_file():
        return Status(folder, FAILED, done, score, problem.read_text("utf-8").strip())
    for path in map(Path, submission.after):
        if read_result(path) is None:
            return Status(folder, CANCELLED, done, score, f"{path.name} is not finished")
    return Status(folder, FAILED, done, score, f"see {submission.log}")


def _last_score(folder: Path, log: Path) -> str:
    """Return the metric of the last validation that selects the best checkpoint; an empty text without one."""
    try:
        words = shlex.split((folder / "command.txt").read_text("utf-8"))
    except FileNotFoundError:
        return ""
    found = read_validations(log)
    metric = words[words.index(METRIC) + 1] if METRIC in words else "loss"
    scores = found[max(found)].get("valid", {}) if found else {}
    return f"{metric} {scores[metric]:.4g}" if metric in scores else ""


def _states(group: Path, folders: Sequence[Path]) -> Mapping[str, str]:
    """Return the states in the queue; empty if no run was submitted."""
    if not any(read_submission(folder) for folder in folders):
        return {}
    check_slurm()
    return Slurm(group / LOGS).states()


def _read_group(description: str, arguments: Sequence[str]) -> Path:
    parser = Parser(description)
    parser.add_argument(
        "--out", type=Path, default=Path("runs"), help="parent folder of groups (default: runs)"
    )
    parser.add_argument("--group", default="default", metavar="NAME", help="folder in OUT (default: default)")
    args = parser.parse_args(arguments)
    return args.out / args.group
