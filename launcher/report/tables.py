"""Tables of a report, in Markdown and CSV."""

from collections.abc import Iterable, Sequence
from typing import Any

from ..results.cells import TRIED, Cell, setting
from ..results.table import (
    NO_VALUE,
    csv_text,
    format_average,
    format_number,
    markdown_table,
    of_tried,
    seeds_of,
    setting_name,
)
from ..results.table import tried_table as means_of_tried
from .statistics import LEVEL, Difference
from .study import Study


def scores_table(study: Study, baseline: str) -> str:
    """Return a Markdown table with one row per cell: scores, difference to the baseline, seeds and cost."""
    header = [
        *("method", "init", "mapping", "stages", *study.shown),
        *(score.title(study.task) for score in study.scores),
        *(("chosen", "batch", "lr") if study.tuned else ()),
        *((f"vs {baseline} [{LEVEL} %]",) if study.baselines else ()),
        *("seeds", "seconds a seed", "peak GiB"),
    ]
    rows = []
    for cell in study.cells:
        averages = [format_average(*cell.average(score)) for score in study.scores]
        if cell is study.best:
            averages[0] = f"**{averages[0]}**"
        against = (
            [_difference(study.deciding(cell, study.baselines.get(cell)), cell)] if study.baselines else []
        )
        cost = [format_number(cell.seconds, ".0f"), format_number(cell.peak_gb, ".2f")]
        identity = [*cell.place, *study.setting_values(cell)]
        chosen = _choice(study, cell) if study.tuned else ()
        rows.append([*identity, *averages, *chosen, *against, seeds_of(cell), *cost])
    return markdown_table(header, rows)


def _choice(study: Study, cell: Cell) -> list[str]:
    """Return how many cells were tried, and the cell's batch size and learning rate."""
    rates = [str(cell.rates[0]), f"{cell.rates[1]:g}"] if cell.runs else [NO_VALUE] * 2
    return [f"best of {of_tried(study.tried[cell], study.scores[0])}", *rates]


def tried_table(study: Study) -> str:
    """Return a Markdown table with a row per cell and a column per batch size and learning rate; the best is bold."""
    means = {cell: means_of_tried(tried, study.scores[0]) for cell, tried in study.tried.items()}
    columns = sorted({rates for of_cell in means.values() for rates in of_cell})
    rows = [
        [*cell.place, *study.setting_values(cell), *(of_cell.get(rates, "") for rates in columns)]
        for cell, of_cell in means.items()
    ]
    header = ["method", "init", "mapping", "stages", *study.shown]
    return markdown_table([*header, *(setting_name(*rates) for rates in columns)], rows)


def inits_table(study: Study) -> str:
    """Return a Markdown table of differences to the reference init: a row per method, a column per init.

    Returns an empty text if there is one init only.
    """
    first = study.reference
    others = [init for init in study.inits if init != first]
    if not others or not study.scores:
        return ""

    families: dict[tuple, dict[str, Cell]] = {}
    for cell in study.cells:
        family = (cell.method, cell.mapping, cell.stages, *study.setting_values(cell))
        families.setdefault(family, {})[cell.init] = cell

    def against_first(cell: Cell | None) -> str:
        if cell is None:
            return NO_VALUE
        return _difference(study.deciding(cell, study.references.get(cell)), cell)

    header = ["method", "mapping", "stages", *study.shown, first, *others]
    rows = []
    for family, members in families.items():
        base = NO_VALUE if first not in members else format_average(*members[first].average(study.scores[0]))
        rows.append([*family, base, *(against_first(members.get(init)) for init in others)])
    return markdown_table(header, rows)


def cells_csv(studies: Sequence[Study]) -> str:
    """Return a CSV with one line per cell, tried ones included, and the scores of all seeds.

    Each setting and metric of any task has its own column.
    """
    shown = list(dict.fromkeys([*(name for study in studies for name in study.shown), *TRIED]))
    scores = list(dict.fromkeys(score for study in studies for score in study.scores))
    measured = [f"{score.subset}_{score.metric}" for score in scores]
    header = [
        *("task", "method", "init", "mapping", "stages", *shown, "metric", "mean", "deviation"),
        *("seeds", "planned", "seconds_per_seed", "seconds", "peak_gb", "best", "tried", "best_of_tried"),
        "commits",
        *(f"{name}_{what}" for name in measured for what in ("mean", "deviation", "by_seed")),
    ]
    lines = []
    for study in studies:
        for chosen, cell in ((best, one) for best, tried in study.tried.items() for one in tried):
            decisive = study.scores[0] if study.scores else None
            averages = cell.average(decisive) if decisive else (None, None)
            total = None if cell.seconds is None else cell.seconds * len(cell.runs)
            line: list[Any] = [cell.task, *_identity(cell, shown)]
            line += [
                decisive.metric if decisive else "",
                *(format_number(value, ".4f", "") for value in averages),
            ]
            line += [len(cell.runs), cell.planned]
            line += [format_number(value, ".1f", "") for value in (cell.seconds, total)]
            line += [format_number(cell.peak_gb, ".3f", ""), int(cell is study.best)]
            line += [len(study.tried[chosen]), int(cell is chosen and bool(cell.runs))]
            line.append(" ".join(f"{commit}:{number}" for commit, number in cell.commits.most_common()))
            for score in scores:
                line += [format_number(value, ".4f", "") for value in cell.average(score)]
                line.append(" ".join(f"{seed}:{value}" for seed, value in cell.scores(score).items()))
            lines.append(line)
    return csv_text(header, lines)


def differences_csv(studies: Sequence[Study]) -> str:
    """Return a CSV with one line per difference: each cell against its baseline and reference, in each metric."""
    shown = list(dict.fromkeys(name for study in studies for name in study.shown))
    header = [
        *("task", "method", "init", "mapping", "stages", *shown),
        *("minus_method", "minus_init", "split", "metric"),
        *("difference", "low", "high", "seeds", "sentences"),
    ]
    lines = []
    for study in studies:
        for cell in study.cells:
            others = dict.fromkeys(pairs.get(cell) for pairs in (study.baselines, study.references))
            for other in others:
                for score in study.scores:
                    found = study.differences.get((cell, other, score))
                    if found is None:
                        continue
                    line = [cell.task, *_identity(cell, shown)]
                    line += [other.method, other.init, *score]
                    line += [f"{number:.4f}" for number in (found.value, found.low, found.high)]
                    lines.append([*line, found.seeds, found.sentences])
    return csv_text(header, lines)


def _identity(cell: Cell, shown: Iterable[str]) -> list[str]:
    return [*cell.place, *(setting(cell, name) for name in shown)]


def _difference(found: Difference | None, cell: Cell) -> str:
    if found is None:
        return NO_VALUE
    fewer = f" ({found.seeds} of its seeds)" if found.seeds < len(cell.runs) else ""
    return f"{_signed(found.value)} [{_signed(found.low)}, {_signed(found.high)}]{fewer}"


def _signed(number: float) -> str:
    rounded = round(number, 2)
    return f"{rounded:+.2f}" if rounded else "0.00"
