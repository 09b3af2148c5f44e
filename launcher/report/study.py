"""What is known of one task: its cells, their scores and the differences between them."""

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..flags import grouped
from ..tuning import best_tried
from .bootstrap import Difference
from .cells import (
    TUNED,
    Cell,
    differing,
    families,
    init_order,
    setting,
    shared_flags,
)
from .comparison import compare
from .pairs import find_baseline, find_init
from .scores import SECOND_METRIC, Score

FLAGS = "flags"
WITH_FLAGS = frozenset({FLAGS, f"stage 1 {FLAGS}"})


@dataclass(frozen=True)
class Study:
    """A task of a group.

    cells        those that are shown, each with the best of the batch sizes and learning rates it was tried with
    tried        of each cell, those among which it is the best, itself included
    scores       what is shown; the first decides
    shown        settings in which cells differ, but for those that were tried
    shared       flags that all cells have
    best         the cell with the highest mean, among those with the most seeds
    baselines    of each cell, the one it is compared with
    reference    the init that others are compared with
    references   of each cell, the one that starts from there
    differences  first cell minus second one, by score
    """

    task: str
    cells: tuple[Cell, ...]
    tried: dict[Cell, tuple[Cell, ...]]
    scores: tuple[Score, ...]
    shown: tuple[str, ...]
    shared: tuple[str, ...]
    best: Cell | None
    baselines: dict[Cell, Cell]
    reference: str
    references: dict[Cell, Cell]
    differences: dict[tuple[Cell, Cell, Score], Difference]

    def deciding(self, cell: Cell, other: Cell | None) -> Difference | None:
        """Their difference in the metric that decides; None where it is not known."""
        return self.differences.get((cell, other, self.scores[0])) if other and self.scores else None

    @property
    def tuned(self) -> bool:
        """Whether any cell is the best of several."""
        return any(len(tried) > 1 for tried in self.tried.values())

    @property
    def inits(self) -> list[str]:
        """In numerical order, as the cells are."""
        return sorted({cell.init for cell in self.cells}, key=init_order)

    def told(self, cell: Cell) -> list[str]:
        """Its settings in the order of `shown`, of its flags those that not all cells have."""
        return [
            self._own_flags(cell, name) if name in WITH_FLAGS else setting(cell, name) for name in self.shown
        ]

    def _own_flags(self, cell: Cell, name: str) -> str:
        shared = [words for _, words in grouped(self.shared)]
        own = [words for _, words in grouped(cell.settings.get(name, ())) if words not in shared]
        return shlex.join(word for words in own for word in words)

    @property
    def shows_flags(self) -> bool:
        """Whether any column leaves out the flags that all cells have."""
        return not WITH_FLAGS.isdisjoint(self.shown)

    @property
    def names(self) -> dict[Cell, str]:
        """What a plot calls each cell beside its init: the method, and what else tells its cells apart."""
        described = {
            cell: [cell.mapping, cell.stages, *map(_named, self.shown, self.told(cell))]
            for cell in self.cells
        }
        names = {}
        for cell, parts in described.items():
            same = [others for other, others in described.items() if other.method == cell.method]
            telling = [part for part, *column in zip(parts, *same, strict=True) if len(set(column)) > 1]
            names[cell] = " ".join([cell.method, ", ".join(filter(None, telling))]).strip()
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
    """Everything the report says of a task; `note` is told what it cannot say.

    init  that others are compared with; None, or one that the task does not have: the first
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


def _named(name: str, value: str) -> str:
    """A setting in a sentence: flags say themselves what they are, and none are nothing."""
    if name == FLAGS or not value:
        return value
    return f"{name} {value}"


def _chosen(everything: Sequence[Cell], scores: Sequence[Score]) -> dict[Cell, tuple[Cell, ...]]:
    """The best cell of each family, and the family."""
    chosen = {}
    for family in families(everything):
        chosen[_best(family, scores) or family[0]] = tuple(family)
    return chosen


def _best(among: Sequence[Cell], scores: Sequence[Score]) -> Cell | None:
    return best_tried(among, lambda cell: cell.scores(scores[0])) if scores else None


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
        for subset, told in run.result["at_best"].items()
        for name in told
    }
    metrics = dict.fromkeys([metric, SECOND_METRIC.get(task, metric)])
    subsets = ["valid", *sorted({subset for subset, _ in logged} - {"valid"})]
    return tuple(Score(subset, name) for subset in subsets for name in metrics if (subset, name) in logged)
