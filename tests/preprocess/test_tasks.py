import pytest

from preprocess.errors import DataError
from preprocess.tasks import TASKS, find_task


def test_class_orders_and_metrics_are_fixed():
    nli, entailment = ("entailment", "neutral", "contradiction"), ("entailment", "not_entailment")
    labels = dict.fromkeys(("CoLA", "SST-2", "MRPC", "QQP", "WNLI"), ("0", "1"))
    labels |= dict.fromkeys(("MNLI", "SNLI", "AX"), nli) | {"STS-B": ()}
    labels |= dict.fromkeys(("RTE", "QNLI"), entailment)
    assert {name: task.labels for name, task in TASKS.items()} == labels
    assert {name for name, task in TASKS.items() if not task.pairs} == {"CoLA", "SST-2"}
    metrics = {name: task.metric for name, task in TASKS.items() if task.metric != "accuracy"}
    assert metrics == {"CoLA": "mcc", "STS-B": "pearson"}


def test_required_splits():
    assert TASKS["MNLI"].needed == ["train", "valid", "valid1"]
    assert TASKS["SST-2"].needed == ["train", "valid"]
    assert TASKS["AX"].needed == ["test"]


@pytest.mark.parametrize("name", ["SST-2", "sst-2", "sst2"])
def test_a_task_has_several_names(name):
    assert find_task(name) is TASKS["SST-2"]


def test_an_unknown_task_is_an_error_with_the_known_ones():
    with pytest.raises(DataError, match="--tasks GLUE .*CoLA, SST-2"):
        find_task("GLUE")
