import math

import numpy as np
import pytest
import torch
from fairseq.logging import metrics as fairseq_metrics
from scipy import stats
from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef

from fairseq_kd import metrics


def logits_for(predicted: np.ndarray, classes: int) -> torch.Tensor:
    return torch.nn.functional.one_hot(torch.from_numpy(predicted), classes).float()


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_classification_metrics_equal_scikit_learn(classes):
    rng = np.random.default_rng(classes)
    true = rng.integers(classes, size=200)
    predicted = np.where(rng.random(200) < 0.6, true, rng.integers(classes, size=200))

    counts = sum(
        metrics.confusion(logits_for(predicted[part], classes), torch.from_numpy(true[part]))
        for part in np.array_split(np.arange(200), 7)
    )

    assert metrics.accuracy(counts) == pytest.approx(100 * accuracy_score(true, predicted), abs=1e-4)
    assert metrics.mcc(counts) == pytest.approx(100 * matthews_corrcoef(true, predicted), abs=1e-4)
    macro = metrics.macro_f1(counts)
    assert macro == pytest.approx(100 * f1_score(true, predicted, average="macro"), abs=1e-4)
    if classes == 2:
        assert metrics.f1(counts) == pytest.approx(100 * f1_score(true, predicted), abs=1e-4)


def test_macro_f1_leaves_out_classes_that_do_not_occur():
    true, predicted = np.array([0, 0, 2, 2, 3]), np.array([0, 2, 2, 2, 0])
    counts = metrics.confusion(logits_for(predicted, 6), torch.from_numpy(true))
    expected = 100 * f1_score(true, predicted, average="macro", zero_division=0)
    assert metrics.macro_f1(counts) == pytest.approx(expected, abs=1e-4)


def test_undefined_metrics_are_zero():
    only_class_0 = metrics.confusion(logits_for(np.zeros(4, dtype=int), 2), torch.zeros(4, dtype=torch.long))
    assert metrics.mcc(only_class_0) == 0.0
    assert metrics.f1(only_class_0) == 0.0
    constant = torch.ones(4, dtype=torch.float64)
    assert metrics.pearson(metrics.moments(constant, constant)) == 0.0


def test_correlations_of_a_whole_split_equal_scipy():
    rng = np.random.default_rng(0)
    true = np.round(rng.random(150), 1)
    predicted = true + rng.normal(scale=0.3, size=150)

    with fairseq_metrics.aggregate(new_root=True) as meters:
        for part in np.array_split(np.arange(150), 11):
            target, rows = torch.from_numpy(true[part]), torch.from_numpy(part)
            sample = {"target": target, "id": rows, "split_sentences": 150}
            logits = torch.from_numpy(predicted[part])[:, None]
            statistics = metrics.label_statistics(logits, sample, regression=True, training=False)
            metrics.log_metrics([{"loss": torch.zeros(()), "sample_size": len(part), **statistics}])

    values = meters.get_smoothed_values()
    assert values["pearson"] == pytest.approx(100 * stats.pearsonr(predicted, true).statistic, abs=1e-4)
    assert values["spearman"] == pytest.approx(100 * stats.spearmanr(predicted, true).statistic, abs=1e-4)


def test_meters_survive_a_checkpoint():
    with fairseq_metrics.aggregate("saved"):
        sample = {"target": torch.rand(5), "id": torch.arange(5), "split_sentences": 8}
        statistics = metrics.label_statistics(torch.rand(5, 1), sample, regression=True, training=False)
        metrics.log_metrics([{"loss": torch.zeros(()), "sample_size": 5, **statistics}])
    saved = fairseq_metrics.state_dict()

    fairseq_metrics.load_state_dict(saved)
    assert "_moments" in fairseq_metrics.get_meters("saved")

    metrics.reset_meters("saved")
    assert not fairseq_metrics.get_meters("saved")


def test_terms_are_averages_over_all_sentences_of_all_workers():
    with fairseq_metrics.aggregate(new_root=True) as meters:
        for total, sentences in [(6.0, 2), (1.0, 3)]:
            terms = {"loss": torch.tensor(total), "term_hard": torch.tensor(2 * total)}
            metrics.log_metrics([{**terms, "nsentences": sentences, "sample_size": sentences}])
    assert meters.get_smoothed_value("loss") == pytest.approx(7 / 5)
    assert meters.get_smoothed_value("hard") == pytest.approx(14 / 5)


def test_terms_of_words_are_averages_over_masked_words():
    with fairseq_metrics.aggregate(new_root=True) as meters:
        output = {"loss": 12.0, "token_hard": 8.0, "term_attention": 6.0, "nsentences": 3, "sample_size": 16}
        metrics.log_metrics([output])
    assert meters.get_smoothed_value("loss") == pytest.approx(12 / 16)
    assert meters.get_smoothed_value("hard") == pytest.approx(1 / 2)
    assert meters.get_smoothed_value("attention") == pytest.approx(2)
    assert meters.get_smoothed_value("ppl") == pytest.approx(math.exp(1 / 2), abs=0.01)
