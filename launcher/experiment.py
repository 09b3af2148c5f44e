"""A planned grid with everything it needs, all of it found before anything starts."""

import contextlib
import shlex
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from . import places, results, runner, table
from .command import best_metric, environment, train_command
from .methods import NO_TEACHER
from .plan import Grid, plan, settle
from .spec import RunSpec
from .train import Outcome, Trainings

FAILED, INTERRUPTED = 1, 130


class NotReady(ValueError):
    """Everything that is lacking, one sentence each."""

    def __init__(self, problems: Sequence[str]) -> None:
        sentences = [f"{problem}." for problem in problems]
        super().__init__("Cannot start: " + sentences[0] if len(sentences) == 1 else _listed(sentences))


def _listed(sentences: Sequence[str]) -> str:
    return "\n  ".join(["Cannot start:", *sentences])


class Experiment:
    """The runs of a grid, in OUT/GROUP.

    data, teacher, trainer  as given: --data, --teacher, --trainer
    gpus                    numbers of those to use; none means the CPU
    """

    def __init__(
        self,
        grid: Grid,
        folder: Path,
        *,
        data: Path,
        teacher: str,
        trainer: str | None,
        gpus: Sequence[str],
        jobs: int,
    ) -> None:
        problems: list[str] = []

        def find(look: Callable, *where):
            try:
                return look(*where)
            except ValueError as error:
                problems.append(str(error))

        find(places.check_writable, folder, "--out")
        grid = find(settle, grid) or grid
        self.trainer = find(places.find_trainer, trainer)
        self.data = {task: find(places.find_data, data, task) for task in grid.tasks}
        self.teachers = {task: find(places.find_teacher, teacher, task) for task in grid.tasks}
        shared = len(grid.tasks) > 1 and len(set(self.teachers.values())) == 1
        if not problems and shared and set(grid.methods) != {NO_TEACHER}:
            problems.append(
                f"--teacher {teacher} is one model for {' and '.join(grid.tasks)}: write {{task}} where the path "
                "tells their own teachers apart"
            )
        if problems:
            raise NotReady(problems)

        self.folder, self.cpu, self.jobs = folder, not gpus, jobs
        self.slots = [gpus[job % len(gpus)] if gpus else None for job in range(jobs)]
        teachers = {task: places.fingerprint(path) for task, path in self.teachers.items()}
        self.runs = plan(grid, self.data, teachers)

    def show(self) -> int:
        """Prints the plan and every command."""
        for spec in self.runs:
            finished = results.read_result(self.folder / spec.name) is not None
            print(f"# {spec.name}{'  (finished)' if finished else ''}")
            variables = [
                f"{name}={shlex.quote(value)}" for name, value in self._variables(self.slots[0]).items()
            ]
            print(" ".join([*variables, shlex.join(self._command(spec))]))
        print(f"# {len(self.runs)} runs in {self.folder}, {self.jobs} at a time")
        return 0

    def run(self) -> int:
        """Trains what is not finished, prints and writes the table; returns the exit status."""
        trainings = Trainings()
        outcomes: dict[str, Outcome] = {}
        width = max(len("start"), len(f"[{len(self.runs)}/{len(self.runs)}]"))
        _say(f"{len(self.runs)} runs, each in a folder of {self.folder} with its log.txt")

        def train(spec: RunSpec, gpu: str | None) -> Outcome:
            if results.read_result(self.folder / spec.name) is None:
                _say(f"{'start':>{width}} {spec.name}")
            metric = best_metric(spec, self.data[spec.task].metric)
            return trainings.run(spec, self._command(spec), self._variables(gpu), metric)

        def report(spec: RunSpec, outcome: Outcome) -> None:
            outcomes[spec.name] = outcome
            count = f"[{len(outcomes)}/{len(self.runs)}]"
            _say(f"{count:>{width}} {spec.name}: {_in_words(outcome)}")

        interrupted = False
        with _terminating_as_interrupting():
            try:
                runner.run_all(self.runs, train, report, self.slots, trainings.stop)
            except KeyboardInterrupt:
                interrupted = True

        written = self._write_table(outcomes)
        if interrupted:
            print("Interrupted: the same command goes on from here.", file=sys.stderr)
            return INTERRUPTED
        finished = all(outcome.result is not None for outcome in outcomes.values())
        return 0 if finished and written else FAILED

    def _write_table(self, outcomes: dict[str, Outcome]) -> bool:
        """Shows the table first: what cannot be written, on a full disk say, is not lost."""
        metrics = {task: data.metric for task, data in self.data.items()}
        rows = table.rows(self.runs, outcomes, metrics)
        _say(f"\n{table.markdown(rows)}")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            results.write(self.folder / "table.md", table.markdown(rows))
            results.write(self.folder / "table.csv", table.as_csv(rows))
        except OSError as error:
            print(
                f"The table could not be written ({error}): make room, and call this again.", file=sys.stderr
            )
            return False
        _say(f"Also in {self.folder / 'table.md'} and {self.folder / 'table.csv'}")
        return True

    def _command(self, spec: RunSpec) -> list[str]:
        data, teacher = self.data[spec.task], self.teachers[spec.task]
        return train_command(spec, self.trainer, data, teacher, self.folder, self.cpu)

    def _variables(self, gpu: str | None) -> dict[str, str]:
        return environment(self.cpu, self.jobs, gpu)


def _say(line: str) -> None:
    print(line, flush=True)


def _in_words(outcome: Outcome) -> str:
    if outcome.result is None:
        return f"FAILED, {outcome.problem}"
    score = f"{outcome.result['metric']} {outcome.result['best']:.4g}"
    return f"{score}, finished before" if outcome.skipped else f"{score} in {outcome.result['seconds']:.0f} s"


@contextlib.contextmanager
def _terminating_as_interrupting() -> Iterator[None]:
    """Lets SIGTERM, like Ctrl-C, stop the children and leave a table behind."""

    def interrupt(*_) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
