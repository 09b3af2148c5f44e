"""Analyses one task: its cells, their scores, which cells are compared, and the differences between them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..datasets import UNLABELLED_SUBSET
from ..methods import NO_TEACHER, find_methods, fitting
from ..overrides import without_weights
from ..planning.run_spec import ONE, criterion_of
from ..results.cells import (
    NAMED,
    TUNED,
    Cell,
    Flags,
    differing,
    families,
    init_order,
    setting,
    settings_without,
    shared_flags,
)
from ..results.runs import SECOND_METRIC, Score
from ..results.table import best_tried
from .comparison import compare
from .statistics import Difference

FLAGS = "flags"
WITH_FLAGS = frozenset({FLAGS, f"stage 1 {FLAGS}"})


@dataclass(frozen=True)
class Study:
    """The analysis of one task of a group.

    cells        reported cells; of each tuned family, the one with the best batch size and learning rate
    tried        cell -> all cells of its family, itself included
    scores       reported scores; the first one selects the best
    shown        names of settings in which cells differ, without tuned ones
    shared       flags that all cells have
    best         cell with the highest mean, among those with the most seeds
    baselines    cell -> baseline cell that it is compared with
    reference    init that the others are compared with
    references   cell -> cell with the reference init
    differences  (cell, other cell, score) -> cell minus other cell
    """

    task: str
    cells: tuple[Cell, ...]
    tried: dict[Cell, tuple[Cell, ...]]
    scores: tuple[Score, ...]
    shown: tuple[str, ...]
    shared: Flags
    best: Cell | None
    baselines: dict[Cell, Cell]
    reference: str
    references: dict[Cell, Cell]
    differences: dict[tuple[Cell, Cell, Score], Difference]

    def deciding(self, cell: Cell, other: Cell | None) -> Difference | None:
        """Return the difference of two cells in the first score; None if unknown."""
        return self.differences.get((cell, other, self.scores[0])) if other and self.scores else None

    @property
    def tuned(self) -> bool:
        """Whether any cell is the best of several that were tried."""
        return any(len(tried) > 1 for tried in self.tried.values())

    @property
    def inits(self) -> list[str]:
        """All inits, in the order of `init_order`."""
        return sorted({cell.init for cell in self.cells}, key=init_order)

    def setting_values(self, cell: Cell) -> list[str]:
        """Return the cell's settings in the order of `shown`; flags that all cells have are omitted."""
        return [setting(cell, name, omitted=self.shared) for name in self.shown]

    @property
    def shows_flags(self) -> bool:
        """Whether a column has flags, of which the shared ones are omitted."""
        return not WITH_FLAGS.isdisjoint(self.shown)

    @property
    def names(self) -> dict[Cell, str]:
        """Name of each cell in plots: the method, and the settings in which its cells differ."""
        described = {
            cell: [*cell.place[2:], *map(_with_name, self.shown, self.setting_values(cell))]
            for cell in self.cells
        }
        names = {}
        for cell, parts in described.items():
            same = [others for other, others in described.items() if other.method == cell.method]
            different = [part for part, *column in zip(parts, *same, strict=True) if len(set(column)) > 1]
            names[cell] = " ".join([cell.method, ", ".join(filter(None, different))]).strip()
        return names


def study(
    task: str,
    everything: Sequence[Cell],
    baseline: str,
    samples: int,
    seed: int,
    note: Callable[[str], None],
    init: str | None = None,
) -> Study:
    """Analyse a task.

    baseline  method that the others are compared with
    samples   number of bootstrap samples
    note      called with a message for each problem with predictions
    init      that the others are compared with; the first init if None, or if the task does not have it
    """
    scores = _scores(task, everything)
    tried = _chosen(everything, scores)
    cells = list(tried)
    apart = TUNED if len(cells) < len(everything) else ()
    runs = [run for cell in cells for run in cell.runs.values()]
    inits = sorted({cell.init for cell in cells}, key=init_order)
    reference = init if init in inits else inits[0]
    baselines = _pairs(cells, lambda cell: find_baseline(cell, cells, baseline, apart))
    references = _pairs(cells, lambda cell: find_init(cell, cells, reference, apart))

    differences = {}
    for score in scores:
        comparisons = compare(runs, *score, samples, seed, note)
        for ours, theirs in dict.fromkeys([*baselines.items(), *references.items()]):
            found = comparisons(ours, theirs)
            if found is not None:
                differences[ours, theirs, score] = found

    return Study(
        task=task,
        cells=tuple(cells),
        tried=tried,
        scores=scores,
        shown=tuple(name for name in differing(everything) if name not in apart),
        shared=shared_flags(everything),
        best=_best(cells, scores),
        baselines=baselines,
        reference=reference,
        references=references,
        differences=differences,
    )


def find_baseline(cell: Cell, others: Sequence[Cell], method: str, apart: Sequence[str] = ()) -> Cell | None:
    """Return the cell of the baseline `method` with the same task, init and settings as `cell`; None without one.

    Flags that the baseline's criterion does not have are ignored. Without a teacher, these are the text without labels and
    the schedule, because an epoch of labels and text is longer than one of labels. If several cells differ in mapping or
    stages, or in epochs that may differ, the one with those of `cell` is returned, else None.

    apart  names of settings that may differ
    """
    if method == NO_TEACHER and UNLABELLED_SUBSET in dict(cell.settings["flags"]):
        apart = (*apart, "epochs", "updates", "warmup")

    def shared(one: Cell, flags: Flags) -> tuple:
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
    if len(candidates) > 1 and "epochs" in apart:
        candidates = [other for other in candidates if other.settings["epochs"] == cell.settings["epochs"]]
    if len(candidates) > 1:  # in older runs, method `none` still has the loss weights among its flags
        candidates = [other for other in candidates if other.settings["flags"] == cell.settings["flags"]]
    return candidates[0] if len(candidates) == 1 else None


def _flags_of(method: str, flags: Flags) -> Flags:
    """Return the flags that a run of the method would have; all flags if the method no longer exists."""
    if not flags:
        return ()
    methods = find_methods()
    fitted = fitting(dict(flags), criterion_of(method, ONE), methods) if method in methods else dict(flags)
    if method == NO_TEACHER:
        fitted = without_weights(fitted)
        fitted.pop(UNLABELLED_SUBSET, None)
    return tuple(fitted.items())


def find_init(cell: Cell, others: Sequence[Cell], init: str, apart: Sequence[str] = ()) -> Cell | None:
    """Return the cell that differs from `cell` only in its init and in the settings `apart`; None without one."""

    def shared(one: Cell) -> tuple:
        return one.task, one.method, one.mapping, one.stages, settings_without(one, (*apart, *NAMED))

    return next((other for other in others if other.init == init and shared(other) == shared(cell)), None)


def _with_name(name: str, value: str) -> str:
    """Return a setting as text with its name; flags need no name, and an empty value gives an empty text."""
    if name == FLAGS or not value:
        return value
    return f"{name} {value}"


def _chosen(everything: Sequence[Cell], scores: Sequence[Score]) -> dict[Cell, tuple[Cell, ...]]:
    """Return best cell -> all cells of its family."""
    chosen = {}
    for family in families(everything):
        chosen[_best(family, scores) or family[0]] = tuple(family)
    return chosen


def _best(among: Sequence[Cell], scores: Sequence[Score]) -> Cell | None:
    return best_tried(among, scores[0]) if scores else None


def _pairs(cells: Sequence[Cell], find: Callable[[Cell], Cell | None]) -> dict[Cell, Cell]:
    found = ((cell, find(cell)) for cell in cells)
    return {cell: other for cell, other in found if other is not None and other is not cell}


def _scores(task: str, cells: Sequence[Cell]) -> tuple[Score, ...]:
    metric = next((cell.metric for cell in cells if cell.metric is not None), None)
    if metric is None:
        return ()
    logged = {
        Score(subset, name)
        for cell in cells
        for run in cell.runs.values()
        for subset, metrics in run.result["at_best"].items()
        for name in metrics
    }
    metrics = dict.fromkeys([metric, SECOND_METRIC.get(task, metric)])
    subsets = ["valid", *sorted({subset for subset, _ in logged} - {"valid"})]
    return tuple(Score(subset, name) for subset in subsets for name in metrics if (subset, name) in logged)
