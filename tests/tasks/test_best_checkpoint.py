"""The best checkpoint is the best, and not the worst."""

import pytest

from fairseq_kd.errors import CannotStart
from fairseq_kd.metrics import HIGHER_IS_BETTER, metric_names
from tests.tiny import build


def test_every_metric_of_labels_has_a_direction():
    assert metric_names(2, False) | metric_names(3, False) | metric_names(1, True) == HIGHER_IS_BETTER


@pytest.mark.slow
@pytest.mark.parametrize(
    ("metric", "maximize", "sentence"),
    [
        ("accuracy", False, "accuracy is better if higher.*: add --maximize-best-checkpoint-metric"),
        ("mcc", False, "mcc is better if higher"),
        ("loss", True, "loss is better if lower, so --maximize-best-checkpoint-metric .*: remove"),
        ("soft", True, "soft is better if lower"),
    ],
)
def test_the_worst_checkpoint_is_not_kept(data, teacher, metric, maximize, sentence):
    given = {"best_checkpoint_metric": metric, "maximize_best_checkpoint_metric": maximize}
    with pytest.raises(CannotStart, match=f"--best-checkpoint-metric {sentence}"):
        build(data, teacher, "kd", task=given)
    build(data, teacher, "kd", task={**given, "maximize_best_checkpoint_metric": not maximize})
