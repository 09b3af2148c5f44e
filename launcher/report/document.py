"""Composes the report in Markdown: tables, plots, an explanation, and notes."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..results.table import WARNING
from .bootstrap import LEVEL
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
        parts += [f"All cells have `{shlex.join(study.shared)}`.\n"]
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
