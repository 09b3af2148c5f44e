import json

import pytest

from launcher.results.logs import best_update, peak_memory, validations


def line(update: int, subset: str = "valid", **scores) -> str:
    told = {"epoch": 1, f"{subset}_num_updates": str(update), f"{subset}_wps": "7"}
    told |= {f"{subset}_{name}": str(score) for name, score in scores.items()}
    return f"2000-01-01 00:00:00 | INFO | {subset} | {json.dumps(told)}\n"


def test_a_log_is_read_by_update_and_subset():
    log = [
        "anything | valid | else\n",
        line(10, loss=0.5, accuracy=70, best_accuracy=70),
        line(10, "valid1", accuracy=60),
        line(20, loss=0.4, accuracy=68),
        line(20, loss=0.4, accuracy=69),  # again, after an interruption
    ]
    assert validations(log) == {
        10: {"valid": {"loss": 0.5, "accuracy": 70}, "valid1": {"accuracy": 60}},
        20: {"valid": {"loss": 0.4, "accuracy": 69}},
    }


def test_a_log_of_hydra_says_the_same():
    log = [
        line(10, loss=0.5).replace(
            "2000-01-01 00:00:00 | INFO | valid | ", "[2000-01-01 00:00:00,7][valid][INFO] - "
        )
    ]
    assert log[0].startswith("[2000")
    assert validations(log) == {10: {"valid": {"loss": 0.5}}}


def test_a_line_torn_by_a_kill_is_passed_over():
    torn = line(10, loss=0.5)[:-20] + '"}\n'
    assert validations([torn, line(20, loss=0.4)]) == {20: {"valid": {"loss": 0.4}}}


@pytest.mark.parametrize(("metric", "best"), [("accuracy", 10), ("loss", 20)])
def test_best_is_the_highest_metric_or_the_lowest_loss(metric, best):
    found = validations([line(10, loss=0.5, accuracy=70), line(20, loss=0.4, accuracy=69)])
    assert best_update(found, metric) == best


@pytest.mark.parametrize("metric", ["accuracy", "loss"])
def test_of_equal_validations_the_last_is_the_best(metric):
    """As fairseq chooses checkpoint_best.pt, of which at_best tells the other metrics."""
    found = validations([line(update, loss=0.5, accuracy=70, f1=update) for update in (10, 20)])
    assert best_update(found, metric) == 20


def test_a_score_that_is_no_number_is_never_the_best():
    assert best_update(validations([line(10, mcc="nan"), line(20, mcc=0)]), "mcc") == 20


@pytest.mark.parametrize(
    ("log", "message"),
    [([], "holds no validation"), ([line(10, loss=1.0, f1=3)], "never tell accuracy, only loss, f1")],
)
def test_a_log_without_the_metric_is_named(log, message):
    with pytest.raises(ValueError, match=message):
        best_update(validations(log), "accuracy")


def test_peak_memory_is_the_highest_of_all_lines_an_interruption_between_them():
    log = [
        '| INFO | train_inner | {"epoch": 1, "peak_gb": "1.25", "lr": "1"}',
        '| INFO | train | {"epoch": 1, "train_peak_gb": "1.31"}',
        '| INFO | train_inner | {"epoch": 2, "peak_gb": "0.9"}',
    ]
    assert peak_memory(log) == 1.31
    assert peak_memory(["nothing"]) is None
