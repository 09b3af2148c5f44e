"""Terms of labels and of the teacher's logits, of classes and of numbers."""

import pytest
import torch
from torch.testing import assert_close

from fairseq_kd.losses import cross_entropy, kd
from fairseq_kd.objectives import SentenceLabels
from fairseq_kd.signals import Signals

MASK = torch.ones(3, 2, dtype=torch.bool)
BOTH = {"hard": 1.0, "soft": 1.0}


def signals(*logits) -> Signals:
    return Signals(MASK, logits=torch.tensor(logits, requires_grad=True))


def test_classes_are_compared_by_cross_entropy_and_kd():
    student, teacher = (
        signals([1.0, 2.0], [0.0, 3.0], [2.0, 2.0]),
        signals([0.0, 1.0], [1.0, 0.0], [5.0, 5.0]),
    )
    sample = {"target": torch.tensor([0, 1, -100])}  # the last sentence has no label
    found = SentenceLabels(2, regression=False).terms(BOTH, 3.0, student, teacher, sample)
    assert_close(found["hard"][:2], cross_entropy(student.logits[:2], sample["target"][:2]))
    assert found["hard"][2] == 0
    assert_close(found["soft"], kd(student.logits, teacher.logits, 3.0))


def test_a_regression_is_compared_by_squared_errors():
    student, teacher = signals([1.0], [2.0], [4.0]), signals([3.0], [2.0], [1.0])
    sample = {"target": torch.tensor([0.5, 5.0, torch.nan])}
    found = SentenceLabels(1, regression=True).terms(BOTH, 3.0, student, teacher, sample)
    assert found["hard"].tolist() == [0.25, 9.0, 0.0]
    assert found["soft"].tolist() == [4.0, 0.0, 9.0]
    found["hard"].sum().backward()
    assert student.logits.grad.flatten().tolist() == [1.0, -6.0, 0.0]


@pytest.mark.parametrize("weights", [{}, {"hard": 1.0}, {"soft": 1.0}])
def test_only_terms_with_a_weight_are_computed_and_measured(weights):
    objective, student = SentenceLabels(2, regression=False), signals(*[[1.0, 2.0]] * 3)
    sample = {"target": torch.tensor([0, 1, 1]), "id": torch.arange(3), "split_sentences": 3, "nsentences": 3}
    assert objective.terms(weights, 1.0, student, student, sample).keys() == weights.keys()
    assert objective.metrics(weights) == ({"accuracy", "f1", "mcc"} if weights else set())
    assert objective.sample_size(weights, sample) == 3
    assert objective.statistics(student, sample, training=True)["confusion"].sum() == 3
    assert objective.statistics(Signals(MASK), sample, training=True) == {}
