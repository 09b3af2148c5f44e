"""GLUE metrics of bootstrap samples, and confidence intervals of differences between cells.

The intervals are those of a paired bootstrap over sentences and seeds. Cells a and b were trained with
the seeds 1..n and predict the same N sentences. With m(run) the metric of a run on the whole split, the
difference is

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

A bootstrap sample is given by how often it has each sentence: counts [S, N]. Accuracy, F1 and Matthews
correlation use the confusion matrix, Pearson correlation uses six moments. These are sums over
sentences, hence counts @ terms. Spearman correlation is the Pearson correlation of ranks. Ranks
depend on the other drawn sentences, so they are computed for each sample.

Shapes: R runs, S samples, N sentences, C classes (1 for regression), K terms per sentence.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Scorer = Callable[[NDArray], NDArray]

LINEAR = ("accuracy", "f1", "macro_f1", "mcc", "pearson")
METRICS = (*LINEAR, "spearman")


def scorer(metric: str, logits: NDArray, labels: NDArray) -> Scorer:
    """Return a function from counts [S, N] to the metric of each run on each sample, [S, R].

    As in training, an undefined metric is 0.

    logits  [R, N, C]
    labels  [N], class numbers, or values for regression

    Raises ValueError if the metric is unknown or does not fit the number of classes.
    """
    runs, _, classes = logits.shape
    regression = metric in ("pearson", "spearman")
    if metric not in METRICS or regression != (classes == 1) or (metric == "f1" and classes != 2):
        raise ValueError(f"{metric} cannot be computed from {classes} logits per sentence")
    if metric == "spearman":
        return _spearman(logits[:, :, 0], labels)

    terms = _moments(logits[:, :, 0], labels) if regression else _confusion(logits, labels)  # [N, R * K]
    value = {"accuracy": _accuracy, "f1": _f1, "macro_f1": _macro_f1, "mcc": _mcc, "pearson": _pearson}[
        metric
    ]
    return lambda counts: value((counts @ terms).reshape(len(counts), runs, -1))


def _confusion(logits: NDArray, labels: NDArray) -> NDArray:
    """Return [N, R * C * C]: 1 at (true class, predicted class)."""
    runs, sentences, classes = logits.shape
    filled = labels.astype(np.int64) * classes + logits.argmax(axis=-1)  # [R, N]
    terms = np.zeros((sentences, runs, classes * classes))
    np.put_along_axis(terms, filled.T[:, :, None], 1.0, axis=-1)
    return terms.reshape(sentences, -1)


def _square(sums: NDArray) -> NDArray:
    classes = round(sums.shape[-1] ** 0.5)
    return sums.reshape(*sums.shape[:-1], classes, classes)


def _accuracy(sums: NDArray) -> NDArray:
    return _percent(np.trace(_square(sums), axis1=-2, axis2=-1), sums.sum(axis=-1))


def _f1(sums: NDArray) -> NDArray:
    """Return the F1 of class 1."""
    false_positive, false_negative, true_positive = np.moveaxis(sums[..., 1:], -1, 0)
    return _percent(2 * true_positive, 2 * true_positive + false_positive + false_negative)


def _macro_f1(sums: NDArray) -> NDArray:
    """Return the mean F1 of the classes that are present or predicted."""
    counts = _square(sums)
    correct = np.diagonal(counts, axis1=-2, axis2=-1)
    sizes = counts.sum(axis=-1) + counts.sum(axis=-2)
    each = np.divide(2 * correct, sizes, out=np.zeros_like(correct), where=sizes > 0)
    return _percent(each.sum(axis=-1), (sizes > 0).sum(axis=-1))


def _mcc(sums: NDArray) -> NDArray:
    """Return the Matthews correlation for any number of classes."""
    counts = _square(sums)
    total, true, predicted = sums.sum(axis=-1), counts.sum(axis=-1), counts.sum(axis=-2)
    covariance = np.trace(counts, axis1=-2, axis2=-1) * total - (true * predicted).sum(axis=-1)
    spread = (total**2 - (true**2).sum(axis=-1)) * (total**2 - (predicted**2).sum(axis=-1))
    return _percent(covariance, np.sqrt(spread))


def _moments(predicted: NDArray, labels: NDArray) -> NDArray:
    """Return [N, R * 6]: 1, x, y, x^2, y^2, xy, centred, so that sums of squares lose no precision."""
    x = (predicted - predicted.mean(axis=1, keepdims=True, dtype=np.float64)).T  # [N, R]
    y = np.broadcast_to((labels - labels.mean())[:, None], x.shape)
    return np.stack([np.ones_like(x), x, y, x * x, y * y, x * y], axis=-1).reshape(len(labels), -1)


def _pearson(sums: NDArray) -> NDArray:
    n, x, y, xx, yy, xy = np.moveaxis(sums, -1, 0)
    variances = np.maximum(n * xx - x * x, 0) * np.maximum(n * yy - y * y, 0)
    return _percent(n * xy - x * y, np.sqrt(variances))


def _spearman(predicted: NDArray, labels: NDArray) -> Scorer:
    ranks_of_labels = _ranker(labels)
    rankers = [_ranker(values) for values in predicted]

    def score(counts: NDArray) -> NDArray:
        y = ranks_of_labels(counts)
        return np.stack([_weighted_correlation(rank(counts), y, counts) for rank in rankers], axis=1)

    return score


def _ranker(values: NDArray) -> Scorer:
    """Return a function from counts [S, N] to the rank of each value among the drawn ones, [S, N].

    Ties share their mean rank: b + (c + 1) / 2 for a value drawn c times, with b smaller values drawn.
    """
    distinct, group = np.unique(values, return_inverse=True)
    order = np.argsort(group, kind="stable")
    begins = np.searchsorted(group[order], np.arange(len(distinct)))

    def ranks(counts: NDArray) -> NDArray:
        drawn = np.add.reduceat(counts[:, order], begins, axis=1)  # [S, distinct values]
        return (np.cumsum(drawn, axis=1) - drawn + (drawn + 1) / 2)[:, group]

    return ranks


def _weighted_correlation(x: NDArray, y: NDArray, weights: NDArray) -> NDArray:
    total = weights.sum(axis=1, keepdims=True)
    x = x - (weights * x).sum(axis=1, keepdims=True) / total
    y = y - (weights * y).sum(axis=1, keepdims=True) / total
    spread = (weights * x * x).sum(axis=1) * (weights * y * y).sum(axis=1)
    return _percent((weights * x * y).sum(axis=1), np.sqrt(spread))


def _percent(part: NDArray, whole: NDArray) -> NDArray:
    return np.divide(100.0 * part, whole, out=np.zeros_like(part, dtype=np.float64), where=whole > 0)


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
