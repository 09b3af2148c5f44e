import pytest

from preprocess.errors import DataError
from preprocess.tasks import TASKS, find_task


@pytest.mark.parametrize(
    ("name", "classes", "pairs", "metric"),
    [
        ("CoLA", 2, False, "mcc"),
        ("SST-2", 2, False, "accuracy"),
        ("MRPC", 2, True, "accuracy"),
        ("QQP", 2, True, "accuracy"),
        ("STS-B", 1, True, "pearson"),
        ("MNLI", 3, True, "accuracy"),
        ("QNLI", 2, True, "accuracy"),
        ("RTE", 2, True, "accuracy"),
        ("WNLI", 2, True, "accuracy"),
        ("SNLI", 3, True, "accuracy"),
        ("AX", 3, True, "accuracy"),
    ],
)
def test_table(name, classes, pairs, metric):
    task = TASKS[name]
    assert (task.num_classes, task.pairs, task.metric) == (classes, pairs, metric)


def test_label_orders_are_fixed():
    assert TASKS["MNLI"].labels == TASKS["SNLI"].labels == TASKS["AX"].labels
    assert TASKS["MNLI"].labels == ("entailment", "neutral", "contradiction")
    assert TASKS["RTE"].labels == TASKS["QNLI"].labels == ("entailment", "not_entailment")
    assert all(TASKS[name].labels == ("0", "1") for name in ("CoLA", "SST-2", "MRPC", "QQP", "WNLI"))


def test_needed_splits():
    assert TASKS["MNLI"].needed == ["train", "valid", "valid1"]
    assert TASKS["SST-2"].needed == ["train", "valid"]
    assert TASKS["AX"].needed == ["test"]


@pytest.mark.parametrize("name", ["SST-2", "sst-2", "SST2", "sst2"])
def test_a_task_has_several_names(name):
    assert find_task(name) is TASKS["SST-2"]


def test_an_unknown_task_is_answered_with_the_known_ones():
    with pytest.raises(DataError, match="--tasks GLUE is unknown: choose from CoLA, SST-2"):
        find_task("GLUE")
