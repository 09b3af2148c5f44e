"""Confidence intervals of differences between cells: a paired bootstrap over sentences and seeds.

Cells a and b were trained with the seeds 1..n and predict the same N sentences. With m(run) the
metric of a run on the whole split, the difference is

    d = 1/n * sum over seeds s of ( m(a_s) - m(b_s) )

A bootstrap sample draws N sentences with replacement, the same for all runs. It draws n seeds with
replacement, the same for both cells. Then d is computed on the drawn sentences and seeds. The interval
reaches from the 2.5th to the 97.5th percentile of the samples.

The interval covers other dev sets of this size from the same source, and other seeds. It does not
cover another teacher, other training data, or the choice of the best checkpoint on these sentences.

With few seeds it is approximate, for two reasons (Owen, The pigeonhole bootstrap, 2007). The variance
due to seeds is multiplied by (n - 1) / n: a half for two seeds, 0 for one. So intervals are too
narrow if seeds shift whole scores. The variance due to seeds in single sentences is multiplied by
1 + 2 (n - 1) / n: 1 for one seed, 2 for two. So they are too wide if seeds do not shift scores.

There is no correction for multiple comparisons: for 95 % intervals, about one of twenty differences
that are truly zero lies outside.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .metrics import Scorer

LEVEL = 95  # percent of the samples inside the interval

CHUNK = 1 << 21  # counts computed at once, 16 MB


@dataclass(frozen=True)
class Difference:
    """A difference in percentage points, its interval, and the numbers of seeds and sentences used."""

    value: float
    low: float
    high: float
    seeds: int
    sentences: int


def resample(score: Scorer, sentences: int, samples: int, seed: int, chunk: int = CHUNK) -> NDArray:
    """Return the metric of each run on each bootstrap sample, [samples, R]; all runs share the sentences.

    chunk  counts computed at once, which limits memory; the result does not depend on it
    """
    random = np.random.default_rng(seed)
    step = max(1, chunk // sentences)
    sizes = [min(step, samples - begin) for begin in range(0, samples, step)]
    return np.concatenate([score(_counts(random, size, sentences)) for size in sizes])


def _counts(random: np.random.Generator, samples: int, sentences: int) -> NDArray:
    """Return how often each sentence is drawn, [samples, N]; each row sums to N."""
    drawn = random.integers(0, sentences, size=(samples, sentences))
    drawn += np.arange(samples)[:, None] * sentences
    counts = np.bincount(drawn.ravel(), minlength=samples * sentences)
    return counts.reshape(samples, sentences).astype(np.float64)


def difference(ours: NDArray, theirs: NDArray, samples: NDArray, sentences: int, seed: int) -> Difference:
    """Return the difference of two cells with its interval.

    ours, theirs  [n]     metric of each seed's run on the whole split; paired by position
    samples       [S, n]  differences of the paired runs on the bootstrap samples
    """
    count, seeds = samples.shape
    # One random stream per number of seeds, so that an interval does not depend on the other cells.
    drawn = np.random.default_rng([seed, seeds]).integers(0, seeds, size=(count, seeds))
    means = np.take_along_axis(samples, drawn, axis=1).mean(axis=1)
    tail = (100 - LEVEL) / 2
    low, high = np.percentile(means, [tail, 100 - tail])
    return Difference(float(np.mean(ours - theirs)), float(low), float(high), seeds, sentences)
