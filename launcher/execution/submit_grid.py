"""Submits the runs of a grid to Slurm: teachers, then first stages, then second stages."""

import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from ..files import write_json, write_text
from ..planning.job import Job
from ..planning.run_spec import FIRST, SECOND
from ..plugin import ROOT
from ..results.progress import say
from ..results.runs import read_result
from .slots import Processes, Slot, visible_gpus
from .slurm import LARGEST_ARRAY, Slurm, Task
from .worker import Worker

SUBMISSION, PROBLEM = "job.json", "problem.txt"
LOGS = "slurm"  # folder of the group with the logs of the queue
SECONDS_BETWEEN_VISITS = 5.0


@dataclass
class Training(Task):
    """Trains one run on the machine of the job.

    retries  how often a failed run is resumed within one attempt
    """

    job: Job
    retries: int = 0

    def work(self, processes: Processes) -> str:
        """Train the run; store the problem of a failed run in its folder, and return it."""
        from submitit import JobEnvironment

        if is_cancelled(self.job.folder, JobEnvironment().job_id):
            return "cancelled"
        (self.job.folder / PROBLEM).unlink(missing_ok=True)
        problem = self._train(processes)
        if problem and not processes.stopped:
            write_text(self.job.folder / PROBLEM, problem + "\n")
        return problem

    def _train(self, processes: Processes) -> str:
        gpus = [] if self.job.cpu else visible_gpus()
        if gpus and len(gpus) < self.job.processes:
            return f"--gpus-per-run {self.job.processes}, but the job has {len(gpus)} GPUs: ask for more in --slurm"
        # fairseq starts a process on each GPU that it sees.
        slot = Slot(gpu=",".join(gpus[: self.job.processes]) or None, threads=cores())
        worker = Worker(slot, processes, self.retries)
        job = replace(self.job, cpu=not gpus)
        # A file server may release the lock of a dead machine late.
        while (outcome := worker.train(job)).held and not processes.stopped:
            time.sleep(SECONDS_BETWEEN_VISITS)
        if outcome.note:
            print(outcome.note, flush=True)
        return "" if outcome.result is not None else outcome.problem


def cores() -> int | None:
    """Return the number of cores of the job; None if the queue does not tell."""
    given = os.environ.get("SLURM_CPUS_PER_TASK") or os.environ.get("SLURM_CPUS_ON_NODE")
    return int(given) if given else None


@dataclass(frozen=True)
class Submission:
    """The job of a run, as job.json in the run directory has it.

    id         in the queue
    after      run directories of the runs that must end first
    log        errors of the job itself, such as too little memory
    cancelled  whether `experiments.py cancel` cancelled it
    """

    id: str
    after: tuple[str, ...]
    log: str
    cancelled: bool = False

    def write(self, folder: Path) -> None:
        """Write job.json in a run directory."""
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / SUBMISSION, asdict(self))


def read_submission(folder: Path) -> Submission | None:
    """Return the job of a run; None if it was never submitted."""
    try:
        content = json.loads((folder / SUBMISSION).read_text("utf-8"))
    except FileNotFoundError:
        return None
    return Submission(**content | {"after": tuple(content["after"])})


def is_cancelled(folder: Path, job_id: str) -> bool:
    """Return whether the job of a run was cancelled; scancel has no effect on a job that is being requeued."""
    submission = read_submission(folder)
    return submission is not None and submission.cancelled and submission.id == job_id


def submit_grid(jobs: Sequence[Job], queue: Slurm, group: Path, retries: int = 0) -> bool:
    """Submit the runs that are neither finished nor in the queue; return False if all runs are finished.

    Runs of other grids that are already in the queue, such as a common teacher, are not submitted again. Raises
    ValueError if the queue refuses an array; arrays that were submitted before remain.
    """
    states, ids = queue.states(), {}
    for job in jobs:
        submission = read_submission(job.folder)
        if submission is not None and submission.id in states and not submission.cancelled:
            ids[job.name] = submission.id
    queued = len(ids)
    unfinished = [job for job in jobs if read_result(job.folder) is None or job.lacks_predictions]
    waiting = [job for job in unfinished if job.name not in ids]
    folders = {job.name: job.folder for job in jobs}
    while waiting:
        names = {job.name for job in waiting}
        ready = [job for job in waiting if names.isdisjoint(job.after)]
        for dependency, array in arrays(ready, ids):
            tasks = [Training(job, retries) for job in array]
            submitted = queue.submit(tasks, f"{group.name}-{_stage(array[0])}", dependency)
            for job, id in zip(array, submitted, strict=True):
                ids[job.name] = id
                after = tuple(str(folders[name]) for name in job.after if name in ids)
                Submission(id, after, str(group / LOGS / f"{id}_0_log.err")).write(job.folder)
        waiting = [job for job in waiting if job.name not in ids]

    if not unfinished:
        return False
    say(
        f"Submitted {len(ids) - queued} runs; {queued} were in the queue, {len(jobs) - len(unfinished)} are finished."
    )
    say_commands(group)
    say("When all are finished, the same command prints the table.")
    return True


def say_commands(group: Path) -> None:
    """Print the commands that show and cancel the jobs of a group."""
    program, place = f"python {ROOT / 'experiments.py'}", f"--out {group.parent} --group {group.name}"
    say(f"Watch them: {program} status {place}")
    say(f"Stop them:  {program} cancel {place}")


def arrays(ready: Sequence[Job], ids: Mapping[str, str]) -> list[tuple[str, list[Job]]]:
    """Divide jobs into arrays with one dependency each.

    ready  jobs whose unfinished prerequisites are all in `ids`
    ids    of jobs in the queue, by name, in the order of submission
    """
    groups: dict[tuple[str, str, tuple[str, ...]], list[Job]] = {}
    for job in ready:
        parents = [ids[name] for name in job.after if name in ids and name != job.spec.after]
        first, mark, _ = ids.get(job.spec.after, "").partition("_")
        if first and not mark:  # no array
            parents.append(first)
        groups.setdefault((_stage(job), first if mark else "", tuple(parents)), []).append(job)

    found = []
    for (_, array, waited), jobs in groups.items():
        needed = [f"afterok:{':'.join(waited)}"] if waited else []
        if not array:
            parts = [jobs[at : at + LARGEST_ARRAY] for at in range(0, len(jobs), LARGEST_ARRAY)]
            found += [(",".join(needed), part) for part in parts]
        elif [ids[job.spec.after] for job in jobs] == [
            id for id in ids.values() if id.startswith(f"{array}_")
        ]:
            # Each second stage waits for the first stage with the same index.
            found.append((",".join([*needed, f"aftercorr:{array}"]), jobs))
        else:
            found += [(",".join([*needed, f"afterok:{ids[job.spec.after]}"]), [job]) for job in jobs]
    return found


def _stage(job: Job) -> str:
    return {FIRST: "stage1", SECOND: "stage2"}.get(job.spec.stage, "teacher" if job.is_teacher else "run")
