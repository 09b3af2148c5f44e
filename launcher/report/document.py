"""Composes the report in Markdown: tables, plots, an explanation, and notes."""

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..overrides import as_words
from ..results.cells import Cell
from ..results.runs import Run
from ..results.table import WARNING
from .statistics import LEVEL
from .study import Study
from .tables import inits_table, scores_table, tried_table


def document(
    title: str,
    progress: str,
    studies: Sequence[Study],
    baseline: str,
    samples: int,
    plots: Mapping[str, Sequence[Path]],
    notes: Sequence[str],
) -> str:
    """Return the report. plots: task -> plot files, in the report's folder."""
    parts = [f"# {title}\n", f"{progress}\n"]
    for study in studies:
        parts += [f"## {study.task}\n", *_task(study, baseline)]
        parts += [f"![{path.stem}]({path.name})\n" for path in plots.get(study.task, ())]
    parts += ["## How to read this\n", _reading(baseline, samples, any(study.tuned for study in studies))]
    if notes:
        parts += ["## Notes\n", "".join(f"* {note}.\n" for note in notes)]
    return "\n".join(parts)


def _task(study: Study, baseline: str) -> list[str]:
    if not study.scores:
        return ["No run is finished yet.\n"]
    parts = [scores_table(study, baseline)]
    if study.shows_flags and study.shared:
        parts += [f"All cells have `{shlex.join(as_words(dict(study.shared)))}`.\n"]
    if study.tuned:
        metric = study.scores[0].title(study.task)
        parts += [f"All batch sizes and learning rates tried, {metric}, mean over seeds:\n"]
        parts += [tried_table(study)]
    if len(study.inits) > 1:
        first = study.reference
        metric = study.scores[0].title(study.task)
        parts += [f"Difference to init {first}, {metric}:\n", inits_table(study)]
    return parts


def _reading(baseline: str, samples: int, tuned: bool) -> str:
    sentences = [
        "Scores are in percent on the dev set, at each run's best checkpoint: mean ± sample standard deviation over "
        "seeds. Among the cells with the most seeds, the best is bold.",
        "Seconds are per seed, first stage included.",
        f"A difference to `{baseline}` compares cells of the same task, init and settings. It is in points, over the "
        "seeds that both have; `-` means no such cell, or no predictions of both.",
        f"Its {LEVEL} % interval uses {samples:,} bootstrap samples of the dev sentences and the seeds, the same for both "
        "cells.",
        "The interval covers other dev sets of this size and other seeds. It does not cover another teacher, other "
        "training data, or the choice of the checkpoint on the same sentences. There is no correction for multiple "
        "comparisons.",
        "With few seeds it is approximate: the variance due to seeds is too small, by half with two seeds; one seed is "
        "not covered at all.",
    ]
    if tuned:
        sentences.append(
            f"{WARNING}: compare rows with equal numbers. No interval covers this choice, which was made on the same "
            "sentences."
        )
    return "".join(f"{sentence}\n" for sentence in sentences)


MAX_VALUES = 4  # values in a note


def provenance_notes(cells: Sequence[Cell]) -> list[str]:
    """Return a sentence for each kind of provenance in which the runs differ."""
    runs = list({run.folder: run for cell in cells for run in cell.trainings}.values())
    sentences = []
    for kind, of in PROVENANCE.items():
        found = Counter(filter(None, map(of, runs)))
        if len(found) > 1:
            values = [f"{value} ({count})" for value, count in found.most_common(MAX_VALUES)]
            more = [f"{len(found) - MAX_VALUES} more"] if len(found) > MAX_VALUES else []
            mixed = sum(len(set(filter(None, map(of, cell.trainings)))) > 1 for cell in cells)
            sentences.append(
                f"runs were trained with different {kind} (number of runs), {', '.join(values + more)}; {mixed} of "
                f"{len(cells)} cells average over several"
            )
    if modified := sum(bool(run.result.get("modified")) for run in runs):
        sentences.append(f"{modified} of {len(runs)} runs were trained with uncommitted changes in the code")
    return sentences


def _torch(run: Run) -> str | None:
    return (run.result.get("versions") or {}).get("torch")


def _device(run: Run) -> str | None:
    """Return the GPU, or the processor if no GPU was used; None if an older version did not record it."""
    machine = run.result.get("machine") or {}
    return machine.get("gpu") or machine.get("cpu")


PROVENANCE = {"commits": lambda run: run.commit, "versions of torch": _torch, "GPUs or processors": _device}
