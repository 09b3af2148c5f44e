"""The report's Markdown: tables, plots, what the intervals cover, and what is lacking."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..tuning import WARNING
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
    """The whole report; plots by task, lying in the report's folder."""
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
        return ["Nothing is finished yet.\n"]
    parts = [scores_table(study, baseline)]
    if study.shows_flags and study.shared:
        parts += [f"All of them with `{shlex.join(study.shared)}`.\n"]
    if study.tuned:
        metric = study.scores[0].title(study.task)
        parts += [f"All that was tried, by batch size and learning rate, {metric}, mean over seeds:\n"]
        parts += [tried_table(study)]
    if len(study.inits) > 1:
        first = study.reference
        metric = study.scores[0].title(study.task)
        parts += [f"Minus init {first}, {metric}:\n", inits_table(study)]
    return parts


def _reading(baseline: str, samples: int, tuned: bool) -> str:
    sentences = [
        "Scores are those of each run's best checkpoint on the dev set, in percent, mean ± sample deviation over "
        "seeds; the best cell of those with the most seeds is bold.",
        "Seconds are those of one seed, its first stage included.",
        f"A difference to `{baseline}` is between cells of the same task, init and settings, in points, over the "
        "seeds that both have; `-` where there is no such cell or no predictions of both.",
        f"Its {LEVEL} % interval comes from {samples:,} samples of the dev sentences and of the seeds, drawn with "
        "replacement, the same ones for both cells.",
        "It covers another dev set of this size and other seeds, not another teacher, other training data or the "
        "choice of the checkpoint on the same sentences, and it is not widened for the number of comparisons.",
        "With few seeds it is rough: the share of the variance that seeds make comes out too small, by half with two "
        "of them; with one, seeds are not covered at all.",
    ]
    if tuned:
        sentences.append(
            f"{WARNING}: compare rows of like numbers, and mind that no interval covers that choice, which was made on the "
            "same sentences."
        )
    return "".join(f"{sentence}\n" for sentence in sentences)
