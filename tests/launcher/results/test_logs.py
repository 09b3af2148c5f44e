import json
import time

import pytest

from launcher.results.logs import Log, best_update, following, peak_memory, validations


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


def validation_line(update: int, accuracy: float, subset: str = "valid") -> str:
    told = {"epoch": 1, f"{subset}_num_updates": str(update), f"{subset}_accuracy": str(accuracy)}
    return f"2000-01-01 00:00:00 | INFO | {subset} | {json.dumps(told)}\n"


def test_only_what_is_added_is_told_and_only_whole_lines(tmp_path):
    path = tmp_path / "log.txt"
    path.write_text("old\n")
    log = Log(path)
    assert log.new_lines() == []
    with open(path, "a") as file:
        file.write("one\ntwo\nthr")
    assert log.new_lines() == ["one", "two"]
    with open(path, "a") as file:
        file.write("ee\n")
    assert log.new_lines() == ["three"]
    path.write_text("new\n")
    assert log.new_lines() == ["new"]


def test_a_log_that_is_not_there_yet_is_waited_for(tmp_path):
    log = Log(tmp_path / "log.txt")
    assert log.new_lines() == []
    (tmp_path / "log.txt").write_text("first\n")
    assert log.new_lines() == ["first"]


@pytest.mark.parametrize("in_place", [True, False], ids=["written over", "renamed"])
def test_a_log_begun_anew_is_read_from_its_start_however_long_it_is_by_now(tmp_path, in_place):
    path, other = tmp_path / "log.txt", tmp_path / "other.txt"
    path.write_text("10:00 first try\n10:01 failed\n")
    log = Log(path)
    with open(path, "a") as file:
        file.write("10:02 once more\n")
    assert log.new_lines() == ["10:02 once more"]

    (path if in_place else other).write_text("10:03 second try\n10:04 one\n10:05 two\n10:06 three\n")
    if not in_place:
        other.replace(path)
    assert log.new_lines() == ["10:03 second try", "10:04 one", "10:05 two", "10:06 three"]
    with open(path, "a") as file:
        file.write("10:07 four\n")
    assert log.new_lines() == ["10:07 four"]


def test_validations_are_told_while_the_training_runs_and_the_last_at_its_end(tmp_path):
    path, told = tmp_path / "log.txt", []
    path.write_text(validation_line(5, 50))
    with following(path, lambda *what: told.append(what), seconds=0.01):
        with open(path, "a") as file:
            file.write(f"some other line\n{validation_line(10, 80)}{validation_line(10, 70, 'valid1')}")
        deadline = time.monotonic() + 10
        while len(told) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        with open(path, "a") as file:
            file.write(validation_line(20, 81))
    assert told == [
        (10, "valid", {"accuracy": 80}), (10, "valid1", {"accuracy": 70}), (20, "valid", {"accuracy": 81})
    ]  # fmt: skip
