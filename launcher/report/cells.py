"""Cells of the grid: runs that differ by their seed alone."""

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any

from ..flags import grouped, without_weights
from ..methods import NO_TEACHER
from ..spec import FIRST, RunSpec
from .first_stages import first_stages
from .runs import Run
from .scores import Score, average

# Fields of a spec that make or number a cell; every other one is a setting.
IDENTITY = frozenset(
    {"task", "method", "init", "mapping", "stage", "seed", "after", "stage2_from", "start_of_seed"}
)

# Follow from other settings: the epochs, the batch size and the data; of a model that was listed, the name that init
# gives it.
NAMED = ("start", "layers")
DERIVED = ("updates", "warmup", *NAMED)

# What a cell may be tried with, to be reported with the best, and what follows from it.
TRIED = ("batch_size", "lr")
TUNED = (*TRIED, "updates", "warmup")

LOST = "stage 1 run"  # the setting of a cell of which no more is known

FINGERPRINT = 7  # characters shown of it


@dataclass(frozen=True, eq=False)
class Cell:
    """What the runs of a cell have in common, and the runs.

    settings   the other fields of their spec, and those in which their first stages differ from them,
               as "stage 1 epochs"
    runs       finished, by seed
    planned    seeds that any run of the task has
    trainings  finished runs and their first stages, each once
    """

    task: str
    method: str
    init: str
    mapping: str
    stages: str
    settings: dict[str, Any]
    runs: dict[int, Run]
    planned: int
    trainings: tuple[Run, ...]

    @property
    def metric(self) -> str | None:
        """What chose the best checkpoints; None where nothing is finished."""
        return next((run.result["metric"] for run in self.runs.values()), None)

    def scores(self, score: Score) -> dict[int, float]:
        """By seed, at the best checkpoint."""
        told = {seed: run.score(*score) for seed, run in self.runs.items()}
        return {seed: value for seed, value in told.items() if value is not None}

    def average(self, score: Score) -> tuple[float | None, float | None]:
        """Mean and sample deviation over seeds."""
        return average(self.scores(score).values())

    @property
    def seconds(self) -> float | None:
        """Training time of a seed, its first stage included."""
        spent = sum(run.result["seconds"] for run in self.trainings)
        return spent / len(self.runs) if self.runs else None

    @property
    def peak_gb(self) -> float | None:
        """Highest memory of any of its trainings, GiB; None where no run tells."""
        return max(
            (run.result["peak_gb"] for run in self.trainings if run.result.get("peak_gb")), default=None
        )


def cells(runs: Sequence[Run], baseline: str, note: Callable[[str], None]) -> list[Cell]:
    """The cells of a group, by task: the student alone, the baseline, the rest; inits in numerical order.

    First stages alone make no cell: how their second stages will be trained is not known yet. `note` is told which
    runs may belong to other cells than they are put in, and which are left out.
    """
    by_name = {run.name: run for run in runs}
    planned: dict[str, set[int]] = {}
    for run in runs:
        planned.setdefault(run.spec.task, set()).add(run.spec.seed)

    found = []
    for (*identity, settings), started in _members(runs, note).items():
        finished = _by_seed(started, note)
        names = {name for run in finished.values() for name in (run.name, run.spec.after)}
        trainings = (by_name[name] for name in sorted(names & by_name.keys()))
        found.append(
            Cell(
                *identity,
                settings=dict(settings),
                runs=dict(sorted(finished.items())),
                planned=len(planned[identity[0]]),
                trainings=tuple(run for run in trainings if run.result is not None),
            )
        )
    return sorted(found, key=lambda cell: _order(cell, baseline))


def _members(runs: Sequence[Run], note: Callable[[str], None]) -> dict[tuple, list[Run]]:
    """The runs of each cell, by what they have in common."""
    first_stage = first_stages(runs)
    members: dict[tuple, list[Run]] = {}
    lost: dict[tuple, list[Run]] = {}  # those of which nothing tells the first stage
    for run in runs:
        if run.spec.stage != FIRST:
            first = first_stage(run.spec)
            key = (*run.spec.cell, tuple(_settings(run.spec, first).items()))
            known = first is not None or not run.spec.after
            (members if known else lost).setdefault(key, []).append(run)

    for (*identity, settings), started in lost.items():
        together = len({run.spec.seed for run in started}) == len(started)
        for run in started:
            which = "unknown" if together else run.spec.after.rpartition("-")[2]
            members.setdefault((*identity, (*settings, (LOST, which))), []).append(run)
        note(
            f"{len(started)} runs started from first stages that are gone, {started[0].spec.after} the first: "
            + (
                "they are taken for one cell, though these may differ"
                if together
                else "each of these makes a cell"
            )
        )
    return members


def _by_seed(started: Sequence[Run], note: Callable[[str], None]) -> dict[int, Run]:
    """The finished runs of a cell; of two with one seed, the one whose folder has its own name."""
    found: dict[int, Run] = {}
    for run in sorted(started, key=lambda run: (run.name != run.spec.name, run.name)):
        if run.result is None:
            continue
        kept = found.setdefault(run.spec.seed, run)
        if kept is not run:
            note(
                f"{run.folder} is of the same cell and seed as {kept.folder}, and left out: move one of them elsewhere"
            )
    return found


def _settings(spec: RunSpec, first: RunSpec | None) -> dict[str, Any]:
    names = [field.name for field in fields(spec) if field.name not in IDENTITY]
    settings = {name: getattr(spec, name) for name in names}
    if spec.start_of_seed:
        settings["start"] = ""
    if spec.stage2_from != RunSpec.stage2_from:
        settings["stage 1 checkpoint"] = spec.stage2_from
    if first is None:
        return settings
    other = {name: getattr(first, name) for name in names if name not in DERIVED}
    same = settings | {"flags": without_weights(settings["flags"])}
    return settings | {
        f"stage 1 {name}": value for name, value in other.items() if value not in (settings[name], same[name])
    }


def _order(cell: Cell, baseline: str) -> tuple:
    method = (cell.method != NO_TEACHER, cell.method != baseline, cell.method)
    return cell.task, *method, cell.mapping, cell.stages, str(cell.settings), init_order(cell.init)


def init_order(init: str) -> tuple:
    """Sorts layer numbers as numbers, then `all`, then random students."""
    layers = init.split(",")
    if all(layer.isdecimal() for layer in layers):
        return 0, tuple(map(int, layers)), ""
    return 1, (), init


def differing(of_task: Sequence[Cell]) -> list[str]:
    """The settings a table of these cells has to show: those in which two of them differ.

    What follows from other settings is shown only where it alone tells two cells apart.
    """
    names = list(dict.fromkeys(name for cell in of_task for name in cell.settings))
    shown = [
        name
        for name in names
        if name not in DERIVED and len({cell.settings.get(name) for cell in of_task}) > 1
    ]
    for name in DERIVED:
        apart: dict[tuple, set] = {}
        for cell in of_task:
            apart.setdefault(_key(cell, shown), set()).add(cell.settings.get(name))
        if any(len(values) > 1 for values in apart.values()):
            shown.append(name)
    return shown


def shared_flags(of_task: Sequence[Cell]) -> tuple[str, ...]:
    """The flags, with their values, that all cells have."""
    first, *others = [grouped(cell.settings["flags"]) for cell in of_task] or [[]]
    return tuple(word for group in first if all(group in other for other in others) for word in group[1])


def setting(cell: Cell, name: str) -> str:
    """A setting as a table writes it; of a fingerprint, as much as tells a few apart."""
    value = cell.settings.get(name, "")
    if isinstance(value, tuple):
        return shlex.join(map(str, value))
    return str(value)[:FINGERPRINT] if name.endswith(("data", "teacher", "start")) else str(value)


def but(cell: Cell, names: Sequence[str]) -> dict[str, Any]:
    """Its settings without these."""
    return {name: value for name, value in cell.settings.items() if name not in names}


def _key(cell: Cell, shown: Sequence[str]) -> tuple:
    values = (cell.settings.get(name) for name in shown)
    return cell.task, cell.method, cell.init, cell.mapping, cell.stages, *values


def families(of_task: Sequence[Cell]) -> list[list[Cell]]:
    """Cells that differ by what they were tried with alone, in the order of their firsts."""
    found: dict[tuple, list[Cell]] = {}
    for cell in of_task:
        identity = (cell.task, cell.method, cell.init, cell.mapping, cell.stages)
        found.setdefault((*identity, str(but(cell, TUNED))), []).append(cell)
    return list(found.values())
