"""Cells of the grid: groups of runs that differ only by their seed."""

import shlex
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from statistics import mean, stdev
from typing import Any

from ..methods import NO_TEACHER
from ..overrides import Value, as_words, without_weights
from ..planning.run_spec import FIRST, RunSpec
from .runs import SHOWN_HASH, Run, Score

# The user's flags for fairseq-train, in a form that can be a key.
Flags = tuple[tuple[str, Value], ...]

# Fields of a spec that identify a cell or a run in it; all others are settings.
IDENTITY = frozenset(
    {"task", "method", "init", "mapping", "stage", "seed", "after", "stage2_from", "start_of_seed"}
)

# Settings derived from others: updates and warm-up from epochs, batch size and data; start and layers from the name of a
# listed model, which is its init.
NAMED = ("start", "layers")
DERIVED = ("updates", "warmup", *NAMED)

# Settings that may be tuned per cell, and those derived from them.
TRIED = ("batch_size", "lr")
TUNED = (*TRIED, "updates", "warmup")

LOST = "stage 1 run"  # setting of a cell whose first stage is unknown: the hash in its name


@dataclass(frozen=True, eq=False)
class Cell:
    """A cell: its identity, settings and finished runs.

    settings   the other fields of the spec, and those in which the first stage differs, as "stage 1 epochs" etc.
    runs       finished runs by seed
    planned    number of seeds of the task, over all its runs
    trainings  finished runs and their first stages, without duplicates
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
        """Metric that selected the best checkpoints; None without finished runs."""
        return next((run.result["metric"] for run in self.runs.values()), None)

    @property
    def rates(self) -> tuple[int, float]:
        """Batch size and learning rate."""
        return self.settings["batch_size"], self.settings["lr"]

    @property
    def place(self) -> list[str]:
        """Method, init, mapping and stages: the first columns of tables."""
        return [self.method, self.init, self.mapping, self.stages]

    def scores(self, score: Score) -> dict[int, float]:
        """Return seed -> score at the best checkpoint."""
        found = {seed: run.score(*score) for seed, run in self.runs.items()}
        return {seed: value for seed, value in found.items() if value is not None}

    def average(self, score: Score) -> tuple[float | None, float | None]:
        """Return mean and sample standard deviation (n - 1) over seeds; None with too few of them."""
        scores = list(self.scores(score).values())
        return (mean(scores) if scores else None), (stdev(scores) if len(scores) > 1 else None)

    @property
    def seconds(self) -> float | None:
        """Training time per seed in seconds, first stage included; None without finished runs."""
        spent = sum(run.result["seconds"] for run in self.trainings)
        return spent / len(self.runs) if self.runs else None

    @property
    def peak_gb(self) -> float | None:
        """Highest peak memory of all trainings in GiB; None if no run recorded it."""
        recorded = (run.result["peak_gb"] for run in self.trainings if run.result.get("peak_gb"))
        return max(recorded, default=None)

    @property
    def commits(self) -> Counter[str]:
        """Number of trainings by git commit, if recorded."""
        return Counter(run.commit for run in self.trainings if run.commit)


def group_runs(runs: Sequence[Run], note: Callable[[str], None]) -> list[Cell]:
    """Return the cells of runs, in the order of the runs.

    A first stage without a second stage belongs to no cell yet.

    note  called with a message for runs whose cell is uncertain, and for runs that are omitted
    """
    by_name = {run.name: run for run in runs}
    planned: dict[str, set[int]] = {}
    for run in runs:
        planned.setdefault(run.spec.task, set()).add(run.spec.seed)
    if deleted := [run.spec.after for run in runs if run.spec.after and run.spec.after not in by_name]:
        note(
            f"{len(deleted)} runs started from first stages that no longer exist, such as {deleted[0]}: the training time "
            "and memory of these first stages are missing from the costs"
        )

    found = []
    for (task, method, init, mapping, stages, settings), started in _members(runs, note).items():
        finished = _by_seed(started, note)
        names = {name for run in finished.values() for name in (run.name, run.spec.after)}
        trainings = (by_name[name] for name in sorted(names & by_name.keys()))
        found.append(
            Cell(
                task=task,
                method=method,
                init=init,
                mapping=mapping,
                stages=stages,
                settings=dict(settings),
                runs=dict(sorted(finished.items())),
                planned=len(planned[task]),
                trainings=tuple(run for run in trainings if run.result is not None),
            )
        )
    return found


def sorted_cells(cells: Sequence[Cell], baseline: str) -> list[Cell]:
    """Return the cells ordered by task, then: no teacher, the baseline, the others; inits numerically."""

    def order(cell: Cell) -> tuple:
        method = (cell.method != NO_TEACHER, cell.method != baseline, cell.method)
        return cell.task, *method, cell.mapping, cell.stages, str(cell.settings), init_order(cell.init)

    return sorted(cells, key=order)


def _members(runs: Sequence[Run], note: Callable[[str], None]) -> dict[tuple, list[Run]]:
    """Return the runs of each cell, by identity and settings."""
    known = {run.name: run.spec for run in runs}
    members: dict[tuple, list[Run]] = {}
    lost: list[Run] = []
    for run in runs:
        if run.spec.stage != FIRST:
            first = _first_stage(run.spec, known) if run.spec.after else None
            settings = _settings(run.spec, first)
            if run.spec.after and first is None:
                lost.append(run)
                settings[LOST] = run.spec.after.rpartition("-")[2]
            members.setdefault((*run.spec.cell, tuple(settings.items())), []).append(run)
    if lost:
        note(
            f"{len(lost)} runs started from unknown first stages, such as {lost[0].spec.after}: each first stage has its "
            "own cell"
        )
    return members


def _first_stage(second: RunSpec, known: Mapping[str, RunSpec]) -> RunSpec | None:
    """Return the spec of a first stage, also if its folder was deleted but its settings were those of the second.

    A candidate whose name, which ends in a hash of its settings, is that of the first stage is the right one.
    """
    same = replace(second, stage=FIRST, after="", stage2_from=RunSpec.stage2_from)
    candidates = (same, replace(same, overrides=without_weights(same.overrides)))
    return known.get(second.after) or next((each for each in candidates if each.name == second.after), None)


def _by_seed(started: Iterable[Run], note: Callable[[str], None]) -> dict[int, Run]:
    """Return seed -> finished run of a cell. If two have the same seed, prefer the one whose folder name fits."""
    found: dict[int, Run] = {}
    for run in sorted(started, key=lambda run: (run.name != run.spec.name, run.name)):
        if run.result is None:
            continue
        kept = found.setdefault(run.spec.seed, run)
        if kept is not run:
            note(
                f"{run.folder} has the same cell and seed as {kept.folder} and is omitted: move one of them elsewhere"
            )
    return found


def _settings(spec: RunSpec, first: RunSpec | None) -> dict[str, Any]:
    names = [field.name for field in fields(spec) if field.name not in IDENTITY]

    def values(of: RunSpec) -> dict[str, Any]:
        found = {name: getattr(of, name) for name in names}
        return found | {"flags": tuple(found.pop("overrides").items())}

    settings = values(spec)
    if spec.start_of_seed:
        settings["start"] = ""
    if spec.stage2_from != RunSpec.stage2_from:
        settings["stage 1 checkpoint"] = spec.stage2_from
    if first is None:
        return settings
    same = settings | {"flags": tuple(without_weights(spec.overrides).items())}
    return settings | {
        f"stage 1 {name}": value
        for name, value in values(first).items()
        if name not in DERIVED and value not in (settings[name], same[name])
    }


def init_order(init: str) -> tuple:
    """Return a sort key: layer lists numerically, then all other inits alphabetically."""
    layers = init.split(",")
    if all(layer.isdecimal() for layer in layers):
        return 0, tuple(map(int, layers)), ""
    return 1, (), init


def differing(of_task: Sequence[Cell]) -> list[str]:
    """Return the names of settings in which cells of a task differ, for the columns of a table.

    A derived setting is included only if two cells differ in nothing else.
    """
    names = list(dict.fromkeys(name for cell in of_task for name in cell.settings))
    shown = [
        name
        for name in names
        if name not in DERIVED and len({cell.settings.get(name) for cell in of_task}) > 1
    ]
    for name in DERIVED:
        values_of: dict[tuple, set] = {}
        for cell in of_task:
            others = (cell.settings.get(other) for other in shown)
            values_of.setdefault((cell.task, *cell.place, *others), set()).add(cell.settings.get(name))
        if any(len(values) > 1 for values in values_of.values()):
            shown.append(name)
    return shown


def shared_flags(of_task: Sequence[Cell]) -> Flags:
    """Return the flags, with their values, that all cells have."""
    first, *others = [cell.settings["flags"] for cell in of_task] or [()]
    return tuple(flag for flag in first if all(flag in other for other in others))


def setting(cell: Cell, name: str, omitted: Flags = ()) -> str:
    """Return a setting as text for a table; hashes are shortened, and flags in `omitted` are left out."""
    value = cell.settings.get(name, "")
    if isinstance(value, tuple):
        return shlex.join(as_words(dict(flag for flag in value if flag not in omitted)))
    return str(value)[:SHOWN_HASH] if name.endswith(("data", "teacher", "start")) else str(value)


def settings_without(cell: Cell, names: Sequence[str]) -> dict[str, Any]:
    """Return the cell's settings except `names`."""
    return {name: value for name, value in cell.settings.items() if name not in names}


def families(of_task: Sequence[Cell]) -> list[list[Cell]]:
    """Group cells that differ only in tuned settings; groups are ordered by their first cell."""
    found: dict[tuple, list[Cell]] = {}
    for cell in of_task:
        key = (cell.task, *cell.place, str(settings_without(cell, TUNED)))
        found.setdefault(key, []).append(cell)
    return list(found.values())
