import numpy as np
import pytest
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef

from launcher.report.statistics import difference, resample, scorer
from tests.launcher.report.folders import SENTENCES, classes_with

FEW, RUNS, SAMPLES = 60, 3, 25


def classes(number):
    random = np.random.default_rng(number)
    return random.normal(size=(RUNS, FEW, number)), random.integers(0, number, FEW)


def values():
    """Predictions and labels with ties, as STS-B's have."""
    random = np.random.default_rng(1)
    labels = random.integers(0, 6, FEW) / 5
    return (labels + random.normal(0, 0.3, (RUNS, FEW))).round(1)[:, :, None].astype(np.float32), labels


@pytest.mark.parametrize(
    ("metric", "arrays", "by_others"),
    [
        ("accuracy", classes(2), lambda x, y: accuracy_score(y, x.argmax(-1))),
        ("accuracy", classes(3), lambda x, y: accuracy_score(y, x.argmax(-1))),
        ("f1", classes(2), lambda x, y: f1_score(y, x.argmax(-1))),
        ("macro_f1", classes(4), lambda x, y: f1_score(y, x.argmax(-1), average="macro")),
        ("mcc", classes(2), lambda x, y: matthews_corrcoef(y, x.argmax(-1))),
        ("mcc", classes(3), lambda x, y: matthews_corrcoef(y, x.argmax(-1))),
        ("pearson", values(), lambda x, y: pearsonr(x[:, 0], y).statistic),
        ("spearman", values(), lambda x, y: spearmanr(x[:, 0], y).statistic),
    ],
)
def test_metric_of_counts_equals_that_of_the_drawn_sentences(metric, arrays, by_others):
    logits, labels = arrays
    drawn = np.random.default_rng(5).integers(0, FEW, (SAMPLES, FEW))
    counts = np.stack([np.bincount(sample, minlength=FEW) for sample in drawn]).astype(float)

    expected = [[100 * by_others(run[sample], labels[sample]) for run in logits] for sample in drawn]
    np.testing.assert_allclose(scorer(metric, logits, labels)(counts), expected, rtol=1e-6)


def test_pearson_of_values_far_from_zero_is_precise():
    logits, labels = values()
    everything = np.ones((1, FEW))
    far = scorer("pearson", logits.astype(np.float64) + 1e6, labels + 1e6)(everything)
    np.testing.assert_allclose(far, scorer("pearson", logits, labels)(everything), rtol=1e-6)


@pytest.mark.parametrize("metric", ["f1", "mcc", "pearson", "spearman"])
def test_undefined_metric_is_zero(metric):
    width = 1 if metric in ("pearson", "spearman") else 2
    logits = np.zeros((1, 4, width))  # class 0, or the same value, throughout
    assert scorer(metric, logits, np.zeros(4, dtype=np.int64))(np.ones((1, 4))) == [[0]]


@pytest.mark.parametrize(
    ("metric", "width"), [("f1", 3), ("accuracy", 1), ("pearson", 2), ("spearman", 2), ("loss", 2)]
)
def test_metric_that_does_not_fit_raises(metric, width):
    with pytest.raises(ValueError, match=f"{metric} cannot be computed from {width} logits"):
        scorer(metric, np.zeros((1, 4, width)), np.zeros(4, dtype=np.int64))


def accuracy_of(*wrong):
    labels = np.arange(SENTENCES) % 2
    logits = np.stack([classes_with(of_run) for of_run in wrong])
    return scorer("accuracy", logits, labels), logits.argmax(-1) == labels


@pytest.mark.parametrize("chunk", [1, 3 * SENTENCES, 7 * SENTENCES])
def test_samples_do_not_depend_on_the_chunk_size(chunk):
    score, _ = accuracy_of(20)
    whole = resample(score, SENTENCES, 20, seed=1)
    np.testing.assert_array_equal(resample(score, SENTENCES, 20, seed=1, chunk=chunk), whole)


def test_interval_with_one_seed_is_that_of_a_mean():
    """The difference of accuracies is the mean of right - right, each -1, 0 or 1."""
    score, right = accuracy_of(range(30), range(20, 40))
    samples = resample(score, SENTENCES, 20_000, seed=1)
    whole = score(np.ones((1, SENTENCES)))[0]
    found = difference(whole[[1]], whole[[0]], samples[:, [1]] - samples[:, [0]], SENTENCES, seed=1)

    each = 100.0 * right[1] - 100.0 * right[0]
    error = each.std() / SENTENCES**0.5
    assert found.value == pytest.approx(each.mean()) == 5
    assert found.high - found.low == pytest.approx(2 * 1.96 * error, rel=0.04)


def test_seeds_are_drawn_in_pairs():
    """Two seeds that differ by -2 and 4 on any sentences: drawn twice each or once both, -2, 1 or 4."""
    samples = np.tile([-2.0, 4.0], (4000, 1))
    found = difference(np.array([80.0, 85.0]), np.array([82.0, 81.0]), samples, SENTENCES, seed=1)
    assert (found.value, found.low, found.high) == (1, -2, 4)


def test_variance_due_to_seeds_is_too_small_by_one_in_n():
    apart = np.array([-3.0, 0.0, 1.0, 6.0])
    samples = np.tile(apart, (20_000, 1))
    found = difference(apart, np.zeros(4), samples, SENTENCES, seed=1)
    error = (apart.var(ddof=1) / 4 * 3 / 4) ** 0.5
    assert found.high - found.low == pytest.approx(2 * 1.96 * error, rel=0.06)


def test_variance_in_single_sentences_counts_more_than_once():
    """Two seeds with equal scores, which differ in the sentences they predict correctly.

    The documented factor is 1 + 2 (n - 1) / n. Random differences of the seeds' means would contribute (n - 1) / n of it;
    here, they are zero.
    """
    noise = np.random.default_rng(0).normal(size=(2, 2000))
    noise -= noise.mean(axis=1, keepdims=True)
    samples = resample(lambda counts: counts @ noise.T / 2000, 2000, 4000, seed=1)
    found = difference(np.zeros(2), np.zeros(2), samples, 2000, seed=1)
    assert found.high - found.low == pytest.approx(2 * 1.96 * (1.5 * noise.var() / 4000) ** 0.5, rel=0.08)
