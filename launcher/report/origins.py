"""What trained the runs of a report, where that is not the same for all: code, torch, machines."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from .cells import Cell
from .runs import Run

FINGERPRINT = 7  # characters shown of a commit
MOST = 4  # values in a note


def commits(cell: Cell) -> Counter[str]:
    """How many of its trainings each commit made, as far as they tell."""
    return _counted(cell.trainings, _commit)


def origins(cells: Sequence[Cell]) -> list[str]:
    """A sentence for each kind of difference, however many cells it is about."""
    sentences = [_mixture(what, of, cells) for what, of in KINDS.items()]
    runs = _trainings(cells)
    modified = sum(bool(run.result.get("modified")) for run in runs)
    if modified:
        sentences.append(
            f"{modified} of {len(runs)} runs were trained by code with changes that its commit has not"
        )
    return [sentence for sentence in sentences if sentence]


def _mixture(what: str, of: Callable[[Run], str | None], cells: Sequence[Cell]) -> str:
    """Whether means are taken over runs of different origins or, if not, whether they are compared."""
    mixed = [cell for cell in cells if len(_counted(cell.trainings, of)) > 1]
    found = _counted(_trainings(mixed or cells), of)
    if len(found) < 2:
        return ""
    if not mixed:
        return f"each cell's runs come from one of several {what}, {_listed(found)}"
    first = " ".join(filter(None, (mixed[0].task, mixed[0].method, mixed[0].init, mixed[0].mapping)))
    whose = first if len(mixed) == 1 else f"{len(mixed)} cells, {first} the first,"
    return f"the runs of {whose} come from several {what}, {_listed(found)}"


def _trainings(cells: Iterable[Cell]) -> list[Run]:
    """Each once, first stages of several cells too."""
    return list({run.folder: run for cell in cells for run in cell.trainings}.values())


def _counted(runs: Iterable[Run], of: Callable[[Run], str | None]) -> Counter[str]:
    return Counter(value for value in map(of, runs) if value)


def _listed(found: Counter[str]) -> str:
    """`a (3 runs), b (2) and c (1)`"""
    (most, number), *others = found.most_common(MOST)
    told = [
        f"{most} ({number} {'run' if number == 1 else 'runs'})",
        *(f"{one} ({count})" for one, count in others),
    ]
    if len(found) > MOST:
        told.append(f"{len(found) - MOST} more")
    return f"{', '.join(told[:-1])} and {told[-1]}"


def _commit(run: Run) -> str | None:
    commit = run.result.get("commit")
    return f"{commit[:FINGERPRINT]}{'-modified' if run.result.get('modified') else ''}" if commit else None


def _torch(run: Run) -> str | None:
    return _part(run, "versions").get("torch")


def _machine(run: Run) -> str | None:
    """The GPU or, where it trained on none, the processor; None of a run of an earlier version."""
    machine = _part(run, "machine")
    return machine.get("gpu") or machine.get("cpu")


def _part(run: Run, name: str) -> dict[str, Any]:
    return run.result.get(name) or {}


KINDS = {"commits": _commit, "versions of torch": _torch, "GPUs or processors": _machine}
