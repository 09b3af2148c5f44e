"""The content of a report: its tables, explanation and notes; and the report as Markdown and CSV."""

import shlex
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from ..overrides import as_words
from ..results.cells import TRIED, Cell, setting
from ..results.runs import Run
from ..results.table import (
    NO_VALUE,
    WARNING,
    csv_text,
    format_average,
    format_number,
    markdown_table,
    of_tried,
    seeds_of,
    setting_name,
    tried_table,
)
from .statistics import LEVEL, Difference
from .study import Study


@dataclass(frozen=True)
class Report:
    """The content of a report, in any format.

    progress  sentence with the number of finished runs
    baseline  method that the others are compared with
    samples   number of bootstrap samples
    plots     task -> title -> file in the report's folder
    notes     sentences without their full stop
    """

    title: str
    progress: str
    studies: Sequence[Study]
    baseline: str
    samples: int
    plots: Mapping[str, Mapping[str, Path]]
    notes: Sequence[str]


class Table(NamedTuple):
    """A table; its values are texts, or objects with their text as `str()`. Bold values are in `**`."""

    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[Any]]


@dataclass(frozen=True)
class ShownDifference:
    """A difference as a value of a table.

    seeds  number of seeds of the cell, of which the difference may have fewer
    """

    found: Difference
    seeds: int

    def __str__(self) -> str:
        found = self.found
        fewer = f" ({found.seeds} of its seeds)" if found.seeds < self.seeds else ""
        return f"{_signed(found.value)} [{_signed(found.low)}, {_signed(found.high)}]{fewer}"


def markdown(report: Report) -> str:
    """Return the report as Markdown."""
    parts = [f"# {report.title}\n", f"{report.progress}\n"]
    for study in report.studies:
        parts.append(f"## {study.task}\n")
        for part in body(study, report.baseline):
            if isinstance(part, Table):
                parts += [f"{part.caption}:\n"] if part.caption else []
                parts.append(markdown_table(part.header, part.rows))
            else:
                parts.append(f"{part}\n")
        plots = report.plots.get(study.task, {})
        parts += [f"![{title}]({path.name})\n" for title, path in plots.items()]
    parts += ["## How to read this\n", "".join(f"{sentence}\n" for sentence in reading(report))]
    if report.notes:
        parts += ["## Notes\n", "".join(f"* {note}.\n" for note in report.notes)]
    return "\n".join(parts)


def body(study: Study, baseline: str) -> list[str | Table]:
    """Return the paragraphs and tables of a task; the rows of the first table are the cells of the study."""
    if not study.scores:
        return ["No run is finished yet."]
    metric = study.scores[0].title(study.task)
    parts: list[str | Table] = [_scores_table(study, baseline)]
    if study.shows_flags and study.shared:
        parts.append(f"All cells have `{shlex.join(as_words(dict(study.shared)))}`.")
    if study.tuned:
        parts.append(
            _tuning_table(study, f"All batch sizes and learning rates tried, {metric}, mean over seeds")
        )
    if len(study.inits) > 1:
        parts.append(_inits_table(study, f"Difference to init {study.reference}, {metric}"))
    return parts


def reading(report: Report) -> list[str]:
    """Return the sentences that explain the numbers."""
    sentences = [
        "Scores are in percent on the dev set, at each run's best checkpoint: mean ± sample standard deviation over "
        "seeds. Among the cells with the most seeds, the best is bold.",
        "Seconds are per seed, first stage included.",
        f"A difference to `{report.baseline}` compares cells of the same task, init and settings. It is in points, over "
        "the seeds that both have; `-` means no such cell, or no predictions of both.",
        f"Its {LEVEL} % interval uses {report.samples:,} bootstrap samples of the dev sentences and the seeds, the same "
        "for both cells.",
        "The interval covers other dev sets of this size and other seeds. It does not cover another teacher, other "
        "training data, or the choice of the checkpoint on the same sentences. There is no correction for multiple "
        "comparisons.",
        "With few seeds it is approximate: the variance due to seeds is too small, by half with two seeds; one seed is "
        "not covered at all.",
    ]
    if any(study.tuned for study in report.studies):
        sentences.append(
            f"{WARNING}: compare rows with equal numbers. No interval covers this choice, which was made on the same "
            "sentences."
        )
    return sentences


def _scores_table(study: Study, baseline: str) -> Table:
    """Return a table with one row per cell: scores, difference to the baseline, seeds and cost."""
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
    return Table("", header, rows)


def _choice(study: Study, cell: Cell) -> list[str]:
    """Return how many cells were tried, and the cell's batch size and learning rate."""
    rates = [str(cell.rates[0]), f"{cell.rates[1]:g}"] if cell.runs else [NO_VALUE] * 2
    return [f"best of {of_tried(study.tried[cell], study.scores[0])}", *rates]


def _tuning_table(study: Study, caption: str) -> Table:
    """Return a table with a row per cell and a column per batch size and learning rate; the best is bold."""
    means = {cell: tried_table(tried, study.scores[0]) for cell, tried in study.tried.items()}
    columns = sorted({rates for of_cell in means.values() for rates in of_cell})
    rows = [
        [*cell.place, *study.setting_values(cell), *(of_cell.get(rates, "") for rates in columns)]
        for cell, of_cell in means.items()
    ]
    header = ["method", "init", "mapping", "stages", *study.shown]
    return Table(caption, [*header, *(setting_name(*rates) for rates in columns)], rows)


def _inits_table(study: Study, caption: str) -> Table:
    """Return a table of differences to the reference init: a row per method, a column per init."""
    first = study.reference
    others = [init for init in study.inits if init != first]
    families: dict[tuple, dict[str, Cell]] = {}
    for cell in study.cells:
        family = (cell.method, cell.mapping, cell.stages, *study.setting_values(cell))
        families.setdefault(family, {})[cell.init] = cell

    def against_first(cell: Cell | None) -> str | ShownDifference:
        if cell is None:
            return NO_VALUE
        return _difference(study.deciding(cell, study.references.get(cell)), cell)

    header = ["method", "mapping", "stages", *study.shown, first, *others]
    rows = []
    for family, members in families.items():
        base = NO_VALUE if first not in members else format_average(*members[first].average(study.scores[0]))
        rows.append([*family, base, *(against_first(members.get(init)) for init in others)])
    return Table(caption, header, rows)


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


def _difference(found: Difference | None, cell: Cell) -> str | ShownDifference:
    return NO_VALUE if found is None else ShownDifference(found, len(cell.runs))


def _signed(number: float) -> str:
    rounded = round(number, 2)
    return f"{rounded:+.2f}" if rounded else "0.00"


MAX_VALUES = 4  # values that are listed


def provenance(cells: Sequence[Cell]) -> dict[str, Counter[str]]:
    """Return the number of runs by commit, by version of torch and by device; runs that lack one are not counted."""
    runs = runs_of(cells)
    return {kind: Counter(filter(None, map(of, runs))) for kind, of in PROVENANCE.items()}


def with_counts(found: Counter[str]) -> str:
    """Return the most frequent values, with the number of runs of each."""
    values = [f"{value} ({count})" for value, count in found.most_common(MAX_VALUES)]
    return ", ".join(values + ([f"{len(found) - MAX_VALUES} more"] if len(found) > MAX_VALUES else []))


def provenance_notes(cells: Sequence[Cell]) -> list[str]:
    """Return a sentence for each kind of provenance in which the runs differ."""
    runs = runs_of(cells)
    sentences = []
    for kind, found in provenance(cells).items():
        if len(found) > 1:
            of = PROVENANCE[kind]
            mixed = sum(len(set(filter(None, map(of, cell.trainings)))) > 1 for cell in cells)
            sentences.append(
                f"runs were trained with different {kind} (number of runs), {with_counts(found)}; {mixed} of "
                f"{len(cells)} cells average over several"
            )
    if modified := sum(bool(run.result.get("modified")) for run in runs):
        sentences.append(f"{modified} of {len(runs)} runs were trained with uncommitted changes in the code")
    return sentences


def runs_of(cells: Sequence[Cell]) -> list[Run]:
    """Return the finished runs of the cells, first stages included, without duplicates."""
    return list({run.folder: run for cell in cells for run in cell.trainings}.values())


def _torch(run: Run) -> str | None:
    return (run.result.get("versions") or {}).get("torch")


def _device(run: Run) -> str | None:
    """Return the GPU, or the processor if no GPU was used; None if an older version did not record it."""
    machine = run.result.get("machine") or {}
    return machine.get("gpu") or machine.get("cpu")


PROVENANCE = {"commits": lambda run: run.commit, "versions of torch": _torch, "GPUs or processors": _device}
