"""Finds the cell that another cell is compared with."""

from collections.abc import Sequence

from ..methods import NO_TEACHER, criterion_of, find_methods, fitting
from ..overrides import without_weights
from .cells import NAMED, Cell, settings_without


def find_baseline(cell: Cell, others: Sequence[Cell], method: str, apart: Sequence[str] = ()) -> Cell | None:
    """Return the cell of the baseline `method` with the same task, init and settings as `cell`; None without one.

    Flags that the baseline's criterion does not have are ignored. If several cells differ in mapping or stages, the
    one with those of `cell` is returned, else None.

    apart  names of settings that may differ
    """

    def shared(one: Cell, flags: tuple[str, ...]) -> tuple:
        settings = settings_without(one, apart) | {"flags": flags}
        return one.task, one.init, {k: v for k, v in settings.items() if not k.startswith("stage 1 ")}

    wanted = shared(cell, _flags_of(method, cell.settings["flags"]))
    candidates = [
        other
        for other in others
        if other.method == method and shared(other, _flags_of(method, other.settings["flags"])) == wanted
    ]
    if len(candidates) > 1:
        candidates = [
            other for other in candidates if (other.mapping, other.stages) == (cell.mapping, cell.stages)
        ]
    if len(candidates) > 1:  # in older runs, method `none` still has the loss weights among its flags
        candidates = [other for other in candidates if other.settings["flags"] == cell.settings["flags"]]
    return candidates[0] if len(candidates) == 1 else None


def _flags_of(method: str, flags: tuple[str, ...]) -> tuple[str, ...]:
    """Return the flags that a run of the method would have; all flags if the method no longer exists."""
    if not flags:
        return ()
    methods = find_methods()
    fitted = fitting(flags, criterion_of(method), methods) if method in methods else flags
    return without_weights(fitted) if method == NO_TEACHER else fitted


def find_init(cell: Cell, others: Sequence[Cell], init: str, apart: Sequence[str] = ()) -> Cell | None:
    """Return the cell that differs from `cell` only in its init and in the settings `apart`; None without one."""

    def shared(one: Cell) -> tuple:
        return one.task, one.method, one.mapping, one.stages, settings_without(one, (*apart, *NAMED))

    return next((other for other in others if other.init == init and shared(other) == shared(cell)), None)
