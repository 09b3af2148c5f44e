import numpy as np
import pytest

from launcher.report.bootstrap import difference, resample
from launcher.report.metrics import scorer
from tests.launcher.report.folders import SENTENCES, classes_with


def accuracy_of(*wrong):
    labels = np.arange(SENTENCES) % 2
    logits = np.stack([classes_with(of_run) for of_run in wrong])
    return scorer("accuracy", logits, labels), logits.argmax(-1) == labels


def test_samples_equal_those_drawn_by_hand():
    score, right = accuracy_of(20, [5, 70, 90])
    random = np.random.default_rng(3)
    by_hand = []
    for _ in range(50):
        drawn = [int(random.integers(0, SENTENCES)) for _ in range(SENTENCES)]
        by_hand.append([100 * sum(run[sentence] for sentence in drawn) / SENTENCES for run in right])
    np.testing.assert_allclose(resample(score, SENTENCES, 50, seed=3), by_hand)


@pytest.mark.parametrize("chunk", [1, 3 * SENTENCES, 7 * SENTENCES])
def test_samples_do_not_depend_on_the_chunk_size(chunk):
    score, _ = accuracy_of(20)
    whole = resample(score, SENTENCES, 20, seed=1)
    np.testing.assert_array_equal(resample(score, SENTENCES, 20, seed=1, chunk=chunk), whole)


def test_equal_predictions_have_difference_0():
    score, _ = accuracy_of(20, 20, 31, 31)
    samples = resample(score, SENTENCES, 200, seed=1)
    whole = score(np.ones((1, SENTENCES)))[0]
    found = difference(
        whole[[0, 2]], whole[[1, 3]], samples[:, [0, 2]] - samples[:, [1, 3]], SENTENCES, seed=1
    )
    assert (found.value, found.low, found.high) == (0, 0, 0)
    assert (found.seeds, found.sentences) == (2, SENTENCES)


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
