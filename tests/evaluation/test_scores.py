"""Scores of predictions: numbers by hand, and those that a training logged."""

import numpy as np
import pytest

from fairseq_kd.evaluation.predictions import Predictions
from fairseq_kd.evaluation.scores import format_scores, scores


def test_classes_by_hand():
    # predicted 1 1 0 0 1, true 1 0 0 0 1
    logits = np.array([[0, 1], [0, 1], [1, 0], [2, 1], [-1, 3]], np.float32)
    found = scores(Predictions(logits, np.array([1, 0, 0, 0, 1])))
    # MCC = (2 * 2 - 1 * 0) / sqrt(3 * 2 * 3 * 2)
    assert found == {"accuracy": 80.0, "mcc": 66.6667, "f1": 80.0}
    assert format_scores(found) == "accuracy 80, mcc 66.67, f1 80"


def test_three_classes_have_macro_f1():
    logits = np.eye(3, dtype=np.float32)
    assert scores(Predictions(logits, np.array([0, 1, 2]))) == {
        "accuracy": 100.0,
        "mcc": 100.0,
        "macro_f1": 100.0,
    }


def test_regression_by_hand():
    logits = np.array([[0.0], [1.0], [3.0]], np.float32)
    found = scores(Predictions(logits, np.array([0.0, 0.5, 0.6])))
    # Pearson: deviations (-4, -1, 5) / 3 and (-11, 4, 7) / 30
    assert found["pearson"] == pytest.approx(100 * 75 / np.sqrt(42 * 186), abs=1e-4)
    assert found["spearman"] == 100.0


def test_without_labels_there_is_no_score():
    with pytest.raises(ValueError, match="without labels"):
        scores(Predictions(np.zeros((2, 2), np.float32)))
