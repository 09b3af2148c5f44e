"""Submits tasks to Slurm through the package submitit, and requeues them after time-outs and preemptions."""

import contextlib
import io
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..plugin import importing_project
from .slots import Processes, Slot

# Parameters of submitit that the launcher sets itself.
OWN_PARAMETERS = frozenset(
    "additional_parameters array_parallelism dependency job_name nodes ntasks_per_node num_gpus setup srun_args "
    "stderr_to_stdout teardown use_srun".split()
)
TIME = re.compile(r"(?:(?P<days>\d+)-)?(?P<numbers>\d+(?::\d+){0,2})")  # as sbatch --time
MOST_TIMEOUTS = 20  # after which a task fails
LARGEST_ARRAY = 1000  # Slurm's default limit
SECONDS_FOR_SIGNALS = 1.0

PENDING, RUNNING = "pending", "running"
PENDING_STATES = frozenset(
    {"PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "SPECIAL_EXIT"}
)


class Task(ABC):
    """A task of a job. It stops its processes before the job is requeued, and continues in the next attempt.

    Subclasses are dataclasses, which submitit stores in a file.
    """

    processes: Processes | None = None  # of the current attempt

    @abstractmethod
    def work(self, processes: Processes) -> str:
        """Do the task with the given processes; return the problem, or an empty text."""

    def __call__(self) -> None:
        """Do the task; exit with status 1 and the problem if it fails, so that dependent jobs do not start."""
        from submitit import JobEnvironment

        processes = self.processes = Processes()
        signal.signal(signal.SIGTERM, lambda *_: processes.stop())
        job = JobEnvironment()
        if job.global_rank > 0:
            # submitit requeues a job of several nodes from the first one. The others must not fail before that.
            signal.signal(signal.Signals[f"SIG{job.USR_SIG}"], lambda *_: processes.stop())
        # Signal handlers run in the main thread, and must not wait for a lock that this thread holds.
        with ThreadPoolExecutor(1) as threads:
            try:
                problem = threads.submit(self.work, processes).result()
            except BaseException:
                processes.stop()  # otherwise the pool waits for them
                raise
        if not problem:
            return
        # Slurm signals all processes of a job. A child may have ended before the signal reaches this process.
        time.sleep(SECONDS_FOR_SIGNALS)
        while processes.stopped:
            # After SIGTERM, Slurm cancels or requeues the job. A preempted job that ends by itself would fail.
            signal.pause()
        sys.exit(problem)

    def checkpoint(self) -> Any:
        """Stop the processes; return the submission that continues the task. submitit calls this before it requeues."""
        from submitit.helpers import DelayedSubmission

        if self.processes is not None:
            self.processes.stop()
        return DelayedSubmission(replace(self))  # type: ignore[type-var]


@dataclass
class Command(Task):
    """Runs a command, which continues its own earlier work if it is repeated."""

    command: Sequence[str]

    def work(self, processes: Processes) -> str:
        """Run the command; return its exit status if it fails."""
        exit_code = processes.call(self.command, Slot())
        return f"exit status {exit_code} of {shlex.join(self.command)}" if exit_code else ""


@dataclass(frozen=True)
class Slurm:
    """The queue of a Slurm cluster, whose jobs outlive this process.

    folder      for the logs, scripts and stored tasks of submitit
    parameters  of submitit's SlurmExecutor
    limit       most jobs of an array that run at the same time; None for no limit
    nodes       of each job, which runs its task on each node
    """

    folder: Path
    parameters: Mapping[str, Any] = field(default_factory=dict)
    limit: int | None = None
    nodes: int = 1

    def submit(self, tasks: Sequence[Task], name: str, dependency: str = "") -> list[str]:
        """Submit an array of tasks; return their ids. Raises ValueError if sbatch refuses it.

        dependency  in the syntax of `sbatch --dependency`
        """
        executor = self._executor()
        executor.update_parameters(
            job_name=name,
            array_parallelism=self.limit or LARGEST_ARRAY,
            **({"dependency": dependency} if dependency else {}),
        )
        from submitit.core.utils import FailedJobError

        try:
            # submitit prints the errors of sbatch as well.
            with contextlib.redirect_stderr(io.StringIO()):
                return [job.job_id for job in executor.submit_array(tasks)]
        except FailedJobError as error:
            reason = _one_line(str(error))
            raise ValueError(
                f"sbatch refused a job ({reason}): correct --slurm, or check that the Slurm controller runs"
            ) from None

    def states(self) -> dict[str, str]:
        """Return the state, pending or running, of each unfinished job of this user, by id.

        Raises ValueError if squeue fails.
        """
        listing = subprocess.run(
            ["squeue", "--me", "--noheader", "--array", "--format", "%i %T"], capture_output=True, text=True
        )
        if listing.returncode != 0:
            raise ValueError(
                f"squeue failed ({_one_line(listing.stderr)}): check that the Slurm controller runs"
            )
        found = dict(line.split() for line in listing.stdout.splitlines())
        return {id: PENDING if state in PENDING_STATES else RUNNING for id, state in found.items()}

    def cancel(self, ids: Sequence[str]) -> None:
        """Cancel jobs; those that have ended are ignored. Raises ValueError if scancel fails."""
        done = subprocess.run(["scancel", "--quiet", *ids], capture_output=True, text=True)
        if done.returncode != 0:
            raise ValueError(f"scancel failed ({_one_line(done.stderr)}): run the same command again")

    def _executor(self) -> Any:
        from submitit import SlurmExecutor

        # The job imports the launcher, which is not installed in every environment.
        python = ["env", f"PYTHONPATH={importing_project()['PYTHONPATH']}", sys.executable]
        executor = SlurmExecutor(self.folder, max_num_timeout=MOST_TIMEOUTS, python=shlex.join(python))
        given = dict(self.parameters)
        # Since Slurm 22.05, srun does not take the number of cores from sbatch.
        cores = given.get("cpus_per_task")
        executor.update_parameters(
            **given,
            srun_args=[*([f"--cpus-per-task={cores}"] if cores else []), "--kill-on-bad-exit"],
            nodes=self.nodes,
            ntasks_per_node=1,
            # Without kill-on-invalid-dep, jobs wait forever after a failed dependency.
            additional_parameters={"requeue": True, "kill-on-invalid-dep": "yes"},
        )
        return executor


def _one_line(errors: str) -> str:
    return " ".join(errors.split())


def open_slurm(folder: Path, parameters: str, limit: int | None = None, nodes: int = 1) -> Slurm:
    """Return the queue of the cluster that this machine belongs to.

    parameters    value of --slurm
    limit, nodes  see `Slurm`

    Raises ValueError if submitit or Slurm's programs are missing, or a parameter is invalid. Makes no file.
    """
    check_slurm()
    from submitit import SlurmExecutor

    slurm = Slurm(folder, read_parameters(parameters), limit, nodes)
    known = SlurmExecutor._valid_parameters() - OWN_PARAMETERS
    if unknown := sorted(slurm.parameters.keys() - known):
        raise ValueError(f"--slurm {','.join(unknown)} is unknown: choose among {', '.join(sorted(known))}")
    return slurm


def after_all(ids: Sequence[str]) -> str:
    """Return the dependency of a job that starts when a whole array of tasks has succeeded."""
    return f"afterok:{ids[0].partition('_')[0]}"


def check_slurm() -> None:
    """Raise ValueError if submitit or Slurm's programs are missing."""
    try:
        import submitit  # noqa: F401
    except ImportError:
        raise ValueError("Slurm jobs need the package submitit: run `pip install submitit`") from None
    if missing := [name for name in ("sbatch", "srun", "squeue", "scancel") if shutil.which(name) is None]:
        raise ValueError(
            f"Slurm jobs need the programs {', '.join(missing)}: use a machine of the cluster, or correct PATH"
        )


def read_parameters(text: str) -> dict[str, Any]:
    """Parse KEY=VALUE,KEY=VALUE for submitit; a value may contain commas. Raises ValueError if it is invalid."""
    parameters: dict[str, Any] = {}
    for part in re.split(r",(?=[\w-]+=)", text) if text else []:
        key, _, value = part.partition("=")
        key = key.strip().replace("-", "_")
        if not key or not value:
            raise ValueError(f"--slurm {part} is not KEY=VALUE: write partition=NAME,time=4:00:00")
        if key in OWN_PARAMETERS:
            raise ValueError(f"--slurm {key} is set by the launcher: remove it")
        parameters[key] = int(value) if value.isdecimal() else value
    if "time" not in parameters:
        raise ValueError("--slurm has no time: add the time limit of a job, such as time=4:00:00")
    return parameters | {"time": minutes(str(parameters["time"]))}


def minutes(text: str) -> int:
    """Return a time limit of sbatch in minutes, rounded up; raise ValueError if it is invalid.

    The formats are M, M:S, H:M:S, D-H, D-H:M and D-H:M:S.
    """
    match = TIME.fullmatch(text)
    if match is None:
        raise ValueError(f"--slurm time={text} is not a time: give minutes, or hours as in 4:00:00")
    numbers = [int(number) for number in match["numbers"].split(":")]
    if match["days"] is not None:
        hours, minute, second = (*numbers, 0, 0)[:3]
    else:
        hours, minute, second = {1: (0, *numbers, 0), 2: (0, *numbers), 3: tuple(numbers)}[len(numbers)]
    return (int(match["days"] or 0) * 24 + hours) * 60 + minute + (second > 0)
