"""Attention over teacher layers; `test_golden.py` compares the loss and the logged attention with the original."""

import pytest

from fairseq_kd.criterions.transfer import layer_attention
from tests.criterions.factory import criterion_of
from tests.tiny import batch, build

ALONE = {"hard_weight": 0.0, "soft_weight": 0.0}


@pytest.mark.parametrize(
    ("reach", "described"),
    [
        ("all", "1 <- 1..4  2 <- 1..4"),
        ("prefix", "1 <- 1..2  2 <- 1..4"),
        ("buckets", "1 <- 1..2  2 <- 3..4"),
        ("neighbours", "1 <- 1..3  2 <- 2..4"),
    ],
)
def test_the_layers_that_each_student_layer_attends_to(reach, described):
    assert criterion_of(f"alp_kd --alp-reach {reach}").hidden.describe_pairs() == described


@pytest.mark.slow
def test_detached_attention_has_no_gradient(data, teacher):
    gradients = []
    for detach in (False, True):
        task, student, criterion = build(data, teacher, "alp_kd", alp_detach=detach, **ALONE)
        loss, _, _ = criterion(student, batch(task, [0, 1]))
        loss.backward()
        gradients.append((loss.item(), student.encoder.sentence_encoder.layers[1].fc2.weight.grad))
    (with_it, one), (without, other) = gradients
    assert with_it == pytest.approx(without)
    assert (one - other).abs().max() > 1e-4


def test_training_averages_no_attention(data, teacher, monkeypatch):
    task, student, criterion = build(data, teacher, "alp_kd", alp_scope="tokens", **ALONE)
    averaged = []
    monkeypatch.setattr(layer_attention, "mean_over_tokens", lambda _, x, mask: averaged.append(x) or x[:, 0])
    criterion(student, batch(task, [0, 1]))
    assert averaged == []
    criterion.eval()
    criterion(student, batch(task, [0, 1]))
    assert len(averaged) == 2
