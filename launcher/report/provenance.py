"""Notes on runs of one report that differ in git commit, torch version or hardware."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from .cells import Cell
from .runs import Run

SHOWN_HASH = 7  # characters shown of a commit
MAX_VALUES = 4  # values in a note


def commits(cell: Cell) -> Counter[str]:
    """Count the cell's trainings by git commit, if recorded."""
    return _counted(cell.trainings, _commit)


def provenance_notes(cells: Sequence[Cell]) -> list[str]:
    """Return one sentence per kind of difference, for all cells together."""
    sentences = [_mixture(what, of, cells) for what, of in KINDS.items()]
    runs = _trainings(cells)
    modified = sum(bool(run.result.get("modified")) for run in runs)
    if modified:
        sentences.append(f"{modified} of {len(runs)} runs were trained with uncommitted changes in the code")
    return [sentence for sentence in sentences if sentence]


def _mixture(what: str, of: Callable[[Run], str | None], cells: Sequence[Cell]) -> str:
    """Return a note if the runs of one cell differ, else if the cells differ, else an empty string."""
    mixed = [cell for cell in cells if len(_counted(cell.trainings, of)) > 1]
    found = _counted(_trainings(mixed or cells), of)
    if len(found) < 2:
        return ""
    if not mixed:
        return f"cells were trained with different {what}, {_listed(found)}"
    first = " ".join(filter(None, (mixed[0].task, mixed[0].method, mixed[0].init, mixed[0].mapping)))
    whose = first if len(mixed) == 1 else f"{len(mixed)} cells (the first is {first})"
    return f"the runs of {whose} were trained with different {what}, {_listed(found)}"


def _trainings(cells: Iterable[Cell]) -> list[Run]:
    """Return the trainings of all cells without duplicates."""
    return list({run.folder: run for cell in cells for run in cell.trainings}.values())


def _counted(runs: Iterable[Run], of: Callable[[Run], str | None]) -> Counter[str]:
    return Counter(value for value in map(of, runs) if value)


def _listed(found: Counter[str]) -> str:
    """Return, for example, `a (3 runs), b (2) and c (1)`."""
    (most, number), *others = found.most_common(MAX_VALUES)
    listed = [
        f"{most} ({number} {'run' if number == 1 else 'runs'})",
        *(f"{one} ({count})" for one, count in others),
    ]
    if len(found) > MAX_VALUES:
        listed.append(f"{len(found) - MAX_VALUES} more")
    return f"{', '.join(listed[:-1])} and {listed[-1]}"


def _commit(run: Run) -> str | None:
    commit = run.result.get("commit")
    return f"{commit[:SHOWN_HASH]}{'-modified' if run.result.get('modified') else ''}" if commit else None


def _torch(run: Run) -> str | None:
    return _part(run, "versions").get("torch")


def _machine(run: Run) -> str | None:
    """Return the GPU, or the processor if no GPU was used; None if an older version did not record it."""
    machine = _part(run, "machine")
    return machine.get("gpu") or machine.get("cpu")


def _part(run: Run, name: str) -> dict[str, Any]:
    return run.result.get(name) or {}


KINDS = {"commits": _commit, "versions of torch": _torch, "GPUs or processors": _machine}
