"""Which cell another one is compared with."""

from collections.abc import Sequence

from ..flags import without_weights
from ..methods import NO_TEACHER, criterion_of, find_methods, fitting
from .cells import NAMED, Cell, but


def find_baseline(cell: Cell, others: Sequence[Cell], method: str, apart: Sequence[str] = ()) -> Cell | None:
    """The cell of the baseline's `method` that is trained as `cell` is: same task, init and settings.

    apart  settings that may differ

    Flags of criterions that the baseline's lacks are no setting of it. Where several cells differ by mapping or
    stages, the one that shares these with `cell`; else none.
    """

    def shared(one: Cell, flags: tuple[str, ...]) -> tuple:
        settings = but(one, apart) | {"flags": flags}
        return one.task, one.init, {k: v for k, v in settings.items() if not k.startswith("stage 1 ")}

    wanted = shared(cell, _had_by(method, cell.settings["flags"]))
    candidates = [
        other
        for other in others
        if other.method == method and shared(other, _had_by(method, other.settings["flags"])) == wanted
    ]
    if len(candidates) > 1:
        candidates = [
            other for other in candidates if (other.mapping, other.stages) == (cell.mapping, cell.stages)
        ]
    if len(candidates) > 1:  # older runs of `none` still have the weights that stood beside them
        candidates = [other for other in candidates if other.settings["flags"] == cell.settings["flags"]]
    return candidates[0] if len(candidates) == 1 else None


def _had_by(method: str, flags: tuple[str, ...]) -> tuple[str, ...]:
    """Return the flags that a run of the method would have; all of them where no such method is left in the tree."""
    if not flags:
        return ()
    methods = find_methods()
    had = fitting(flags, criterion_of(method), methods) if method in methods else flags
    return without_weights(had) if method == NO_TEACHER else had


def find_init(cell: Cell, others: Sequence[Cell], init: str, apart: Sequence[str] = ()) -> Cell | None:
    """The cell that differs from `cell` by its init alone, and by the settings `apart`."""

    def shared(one: Cell) -> tuple:
        return one.task, one.method, one.mapping, one.stages, but(one, (*apart, *NAMED))

    return next((other for other in others if other.init == init and shared(other) == shared(cell)), None)
