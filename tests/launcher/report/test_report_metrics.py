import numpy as np
import pytest
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef

from launcher.report.metrics import scorer

SENTENCES, RUNS, SAMPLES = 60, 3, 25


def classes(number):
    random = np.random.default_rng(number)
    return random.normal(size=(RUNS, SENTENCES, number)), random.integers(0, number, SENTENCES)


def values():
    """Predictions and labels with ties, as STS-B's have."""
    random = np.random.default_rng(1)
    labels = random.integers(0, 6, SENTENCES) / 5
    return (labels + random.normal(0, 0.3, (RUNS, SENTENCES))).round(1)[:, :, None].astype(np.float32), labels


@pytest.mark.parametrize(
    ("metric", "arrays", "by_others"),
    [
        ("accuracy", classes(2), lambda x, y: accuracy_score(y, x.argmax(-1))),
        ("accuracy", classes(3), lambda x, y: accuracy_score(y, x.argmax(-1))),
        ("f1", classes(2), lambda x, y: f1_score(y, x.argmax(-1))),
        ("mcc", classes(2), lambda x, y: matthews_corrcoef(y, x.argmax(-1))),
        ("mcc", classes(3), lambda x, y: matthews_corrcoef(y, x.argmax(-1))),
        ("pearson", values(), lambda x, y: pearsonr(x[:, 0], y).statistic),
        ("spearman", values(), lambda x, y: spearmanr(x[:, 0], y).statistic),
    ],
)
def test_metric_of_counts_equals_that_of_the_drawn_sentences(metric, arrays, by_others):
    logits, labels = arrays
    drawn = np.random.default_rng(5).integers(0, SENTENCES, (SAMPLES, SENTENCES))
    counts = np.stack([np.bincount(sample, minlength=SENTENCES) for sample in drawn]).astype(float)

    expected = [[100 * by_others(run[sample], labels[sample]) for run in logits] for sample in drawn]
    np.testing.assert_allclose(scorer(metric, logits, labels)(counts), expected, rtol=1e-6)


def test_pearson_of_values_far_from_zero_is_precise():
    logits, labels = values()
    everything = np.ones((1, SENTENCES))
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
