"""Tables of a report, in Markdown and CSV."""

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Any

from ..results.table import all_best, of_tried, setting_name
from .bootstrap import LEVEL, Difference
from .cells import TRIED, Cell, setting
from .provenance import commits
from .study import Study

NO_VALUE = "-"


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
        averages = [_average(*cell.average(score)) for score in study.scores]
        if cell is study.best:
            averages[0] = f"**{averages[0]}**"
        against = (
            [_difference(study.deciding(cell, study.baselines.get(cell)), cell)] if study.baselines else []
        )
        of_planned = "" if len(cell.runs) == cell.planned else f" of {cell.planned}"
        cost = [_number(cell.seconds, ".0f"), _number(cell.peak_gb, ".2f")]
        identity = [*_place(cell), *study.setting_values(cell)]
        chosen = _choice(study, cell) if study.tuned else ()
        rows.append([*identity, *averages, *chosen, *against, f"{len(cell.runs)}{of_planned}", *cost])
    return _markdown(header, rows)


def _choice(study: Study, cell: Cell) -> list[str]:
    """Return how many cells were tried, and the cell's batch size and learning rate."""
    among = of_tried(study.tried[cell], lambda one: one.scores(study.scores[0]))
    rates = [str(cell.settings["batch_size"]), f"{cell.settings['lr']:g}"] if cell.runs else [NO_VALUE] * 2
    return [f"best of {among}", *rates]


def tried_table(study: Study) -> str:
    """Return a Markdown table with a row per cell and a column per batch size and learning rate.

    The highest mean is bold; with ties, all of them.
    """
    columns = sorted({_rates(one) for tried in study.tried.values() for one in tried})
    rows = []
    for cell, tried in study.tried.items():
        means = {_rates(one): _number(one.average(study.scores[0])[0], ".2f") for one in tried}
        for one in all_best(tried, lambda one: one.scores(study.scores[0])):
            means[_rates(one)] = f"**{means[_rates(one)]}**"
        rows.append(
            [*_place(cell), *study.setting_values(cell), *(means.get(column, NO_VALUE) for column in columns)]
        )
    header = ["method", "init", "mapping", "stages", *study.shown]
    return _markdown([*header, *(setting_name(*column) for column in columns)], rows)


def _rates(cell: Cell) -> tuple[int, float]:
    return cell.settings["batch_size"], cell.settings["lr"]


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
        base = NO_VALUE if first not in members else _average(*members[first].average(study.scores[0]))
        rows.append([*family, base, *(against_first(members.get(init)) for init in others)])
    return _markdown(header, rows)


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
            line = [cell.task, *_identity(cell, shown)]
            line += [decisive.metric if decisive else "", *(_number(value, ".4f", "") for value in averages)]
            line += [len(cell.runs), cell.planned]
            line += [_number(value, ".1f", "") for value in (cell.seconds, total)]
            line += [_number(cell.peak_gb, ".3f", ""), int(cell is study.best)]
            line += [len(study.tried[chosen]), int(cell is chosen and bool(cell.runs))]
            line.append(" ".join(f"{commit}:{number}" for commit, number in commits(cell).most_common()))
            for score in scores:
                line += [_number(value, ".4f", "") for value in cell.average(score)]
                line.append(" ".join(f"{seed}:{value}" for seed, value in cell.scores(score).items()))
            lines.append(line)
    return _csv(header, lines)


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
    return _csv(header, lines)


def _identity(cell: Cell, shown: Iterable[str]) -> list[str]:
    return [*_place(cell), *(setting(cell, name) for name in shown)]


def _place(cell: Cell) -> list[str]:
    return [cell.method, cell.init, cell.mapping, cell.stages]


def _average(mean: float | None, deviation: float | None) -> str:
    return _number(mean, ".2f") + ("" if deviation is None else f" ± {deviation:.2f}")


def _difference(found: Difference | None, cell: Cell) -> str:
    if found is None:
        return NO_VALUE
    fewer = f" ({found.seeds} of its seeds)" if found.seeds < len(cell.runs) else ""
    return f"{_signed(found.value)} [{_signed(found.low)}, {_signed(found.high)}]{fewer}"


def _signed(number: float) -> str:
    rounded = round(number, 2)
    return f"{rounded:+.2f}" if rounded else "0.00"


def _number(value: float | None, form: str, missing: str = NO_VALUE) -> str:
    return missing if value is None else f"{value:{form}}"


def _markdown(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    cells = ([str(text).replace("|", r"\|") or NO_VALUE for text in line] for line in lines)
    return "".join(f"| {' | '.join(line)} |\n" for line in cells)


def _csv(header: Sequence[str], lines: Iterable[Sequence[Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([header, *lines])
    return text.getvalue()
