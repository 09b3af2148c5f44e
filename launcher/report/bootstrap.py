"""How far a difference between two cells could be off: a paired bootstrap over sentences and seeds.

Cells a and b were trained with the seeds 1..n and predict the same N sentences. With m(run) the
metric of a run on the whole split, the difference is

    d = 1/n * sum over seeds s of ( m(a_s) - m(b_s) )

A sample draws N sentences with replacement, the same ones for all runs, and n seeds with
replacement, the same ones for both cells, and gives d again, the metric computed on what was drawn.
The interval reaches from the 2.5th to the 97.5th percentile of the samples.

It covers another dev set of this size from the same source, and other seeds. It does not cover
another teacher, other training data, or that the best checkpoint was chosen on these sentences.
For few seeds it is rough. The part of the variance that is due to seeds comes out too small by
(n - 1) / n, a half for two seeds, all of it for one; what a seed does to single sentences counts
1 + 2 (n - 1) / n times (once for one seed, twice for two). The first makes intervals too narrow where
seeds move whole scores, the second too wide where they do not (Owen, The pigeonhole bootstrap, 2007).
Nor is it widened for the number of cells that are compared: one of twenty differences that are
zero will lie outside.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .metrics import Scorer

LEVEL = 95  # percent of the samples inside the interval

CHUNK = 1 << 21  # counts at a time, 16 MB


@dataclass(frozen=True)
class Difference:
    """A difference in percentage points, its interval, and what it rests on."""

    value: float
    low: float
    high: float
    seeds: int
    sentences: int


def resample(score: Scorer, sentences: int, samples: int, seed: int, chunk: int = CHUNK) -> NDArray:
    """The metric of each run on each sample of sentences, [samples, R]; the same sentences for all runs.

    Memory is bounded by `chunk` counts, whatever the number of samples; the result does not depend on it.
    """
    random = np.random.default_rng(seed)
    step = max(1, chunk // sentences)
    sizes = [min(step, samples - begin) for begin in range(0, samples, step)]
    return np.concatenate([score(_counts(random, size, sentences)) for size in sizes])


def _counts(random: np.random.Generator, samples: int, sentences: int) -> NDArray:
    """How often each sentence is drawn, [samples, N]; every row adds up to N."""
    drawn = random.integers(0, sentences, size=(samples, sentences))
    drawn += np.arange(samples)[:, None] * sentences
    counts = np.bincount(drawn.ravel(), minlength=samples * sentences)
    return counts.reshape(samples, sentences).astype(np.float64)


def difference(ours: NDArray, theirs: NDArray, samples: NDArray, sentences: int, seed: int) -> Difference:
    """The difference of two cells and its interval.

    ours, theirs  [n]     the metric of each seed's run on the whole split; paired by position
    samples       [S, n]  differences of the paired runs on the samples
    """
    count, seeds = samples.shape
    # A stream of its own for each number of seeds: an interval does not depend on what else is compared.
    drawn = np.random.default_rng([seed, seeds]).integers(0, seeds, size=(count, seeds))
    means = np.take_along_axis(samples, drawn, axis=1).mean(axis=1)
    tail = (100 - LEVEL) / 2
    low, high = np.percentile(means, [tail, 100 - tail])
    return Difference(float(np.mean(ours - theirs)), float(low), float(high), seeds, sentences)
