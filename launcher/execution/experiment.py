"""Plans the jobs of a grid, prints them or runs them, and writes the table of results."""

import shlex
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from ..files import write_text
from ..models import BEST, STAGE2_FROM
from ..planning.expand import plan
from ..planning.job import Job
from ..planning.prerequisites import NotReady, Prerequisites
from ..planning.run_spec import FIRST, RunSpec
from ..results import table
from ..results.display import display, say, summary
from ..results.outcome import Outcome, read_result
from ..results.progress import Progress
from . import scheduler
from .command import environment, predict_command, train_command
from .devices import Slot, at_a_time
from .processes import Programs
from .train_run import train

FAILED = 1


class Experiment:
    """The jobs of a grid: its runs and the teachers that they need; raises NotReady if a checkpoint was removed.

    slots    devices, each for one run at a time
    retries  how often a failed run is started again
    cache    parent folder of the teacher caches, one for each task; None for no cache
    """

    def __init__(
        self, prerequisites: Prerequisites, slots: Sequence[Slot], retries: int, cache: Path | None = None
    ) -> None:
        self.prerequisites, self.folder = prerequisites, prerequisites.folder
        self.slots, self.retries, self.cache = slots, retries, cache
        identities = {task: teacher.identity for task, teacher in prerequisites.teachers.items()}
        self.runs = plan(prerequisites.grid, prerequisites.data, identities, prerequisites.models)
        self.teachers = [teacher.job for teacher in prerequisites.teachers.values() if teacher.job]
        self.jobs = [*self.teachers, *(self._job(spec) for spec in self.runs)]
        if problems := self._gone():
            raise NotReady(problems)

    def show(self) -> int:
        """Print the plan and every command; return the exit status."""
        variables = [f"{name}={shlex.quote(value)}" for name, value in environment(self.slots[0]).items()]
        for job in self.jobs:
            finished = read_result(job.folder) is not None
            print(f"# {job.name}{'  (finished)' if finished else ''}")
            for command in (train_command(job), *([predict_command(job)] if job.predicts else [])):
                print(" ".join([*variables, shlex.join(command)]))
        print(f"# {self._count()} in {self._places()}, {at_a_time(self.slots)}")
        return 0

    def run(self) -> int:
        """Train the unfinished jobs, print and write the table; return the exit status.

        Runs that another launcher is still training at the end do not count as failures.
        """
        programs = Programs()
        progress = Progress(self.jobs, len(self.slots))
        shown = display(progress)
        places = f"each with its log.txt in a folder of its own, in {self._places()}"
        say(f"{self._count()}, {places}, {at_a_time(self.slots)}")

        def begin(job: Job) -> None:
            progress.start(job)
            if read_result(job.folder) is None:
                shown.start(job)

        def start(job: Job, slot: Slot) -> Outcome:
            outcome = train(job, slot, programs, self.retries, partial(begin, job), len(self.slots))
            if outcome.held:
                shown.hold(job)
            return outcome

        def end(job: Job, outcome: Outcome) -> None:
            progress.end(job, outcome)
            shown.end(job, outcome)

        interrupted = False
        with scheduler.ending_as_interrupted(), shown.showing():
            try:
                scheduler.run_all(self.jobs, start, end, self.slots, programs.stop)
            except KeyboardInterrupt:
                interrupted = True

        written = self._write_table(progress.ended)
        for line in summary(progress.ended):
            say(line)
        if interrupted:
            return scheduler.say_interrupted()
        well = all(outcome.held or outcome.well for outcome in progress.ended.values())
        return 0 if well and written else FAILED

    def _write_table(self, outcomes: dict[str, Outcome]) -> bool:
        """Print the table, then write it; return False if it cannot be written, for example on a full disk."""
        # After an interruption, `outcomes` lacks runs that were finished before.
        outcomes = {job.name: Outcome(read_result(job.folder)) for job in self.jobs} | outcomes
        metrics = {task: data.metric for task, data in self.prerequisites.data.items()}
        rows = table.rows(self.runs, outcomes, metrics)
        say(f"\n{table.markdown(rows)}")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_text(self.folder / "table.md", table.markdown(rows))
            write_text(self.folder / "table.csv", table.as_csv(rows))
        except OSError as error:
            print(
                f"The table could not be written ({error}): make room, and call this again.", file=sys.stderr
            )
            return False
        say(f"Also in {self.folder / 'table.md'} and {self.folder / 'table.csv'}")
        return True

    def _job(self, spec: RunSpec) -> Job:
        teacher = self.prerequisites.teachers.get(spec.task)
        trained = [teacher.job.name] if teacher is not None and teacher.job is not None else []
        asked = teacher is not None and self.prerequisites.grid.known[spec.method].needs_teacher
        return Job(
            spec,
            self.folder / spec.name,
            self.prerequisites.data[spec.task],
            self.prerequisites.trainer,
            self.slots[0].gpu is None,
            teacher=teacher.checkpoint if asked else None,
            cache=self.cache / spec.task if self.cache is not None else None,
            start=self._start(spec),
            after=(*trained, *([spec.after] if spec.after else [])),
            keeps_last=spec.stage == FIRST and self.prerequisites.grid.stage2_from == "last",
        )

    def _gone(self) -> list[str]:
        """Return a sentence for each removed checkpoint that an unfinished job starts from."""
        finished = {job.name: job.folder for job in self.jobs if read_result(job.folder) is not None}
        needed = {
            _origin(finished[name], job.spec, name): (name, job)
            for job in self.jobs
            if job.name not in finished
            for name in job.after
            if name in finished
        }
        return [
            f"{checkpoint} is gone, and {job.name} starts from it, {job.role(name)}: put it back, or remove "
            f"{checkpoint.parent} to have it trained again"
            for checkpoint, (name, job) in needed.items()
            if not checkpoint.is_file()
        ]

    def _start(self, spec: RunSpec) -> Path:
        """Return the checkpoint of a run's initial weights."""
        if spec.after:
            return _origin(self.folder / spec.after, spec, spec.after)
        if spec.start:
            models = self.prerequisites.models[spec.task]
            return next(
                model.checkpoint
                for model in models
                if (model.name, model.fingerprint) == (spec.init, spec.start)
            )
        return self.prerequisites.teachers[spec.task].checkpoint

    def _places(self) -> str:
        """Return the parent folders of all jobs: the group, and the folder of teachers."""
        return " and ".join(dict.fromkeys(str(job.folder.parent) for job in self.jobs))

    def _count(self) -> str:
        counts = {"teacher": len(self.teachers), "run": len(self.runs)}
        return " and ".join(
            f"{number} {name}{'s' * (number != 1)}" for name, number in counts.items() if number
        )


def _origin(folder: Path, spec: RunSpec, name: str) -> Path:
    """Return the checkpoint that the run starts from or learns from, in the folder of the job `name`."""
    return folder / (STAGE2_FROM[spec.stage2_from] if name == spec.after else BEST)
