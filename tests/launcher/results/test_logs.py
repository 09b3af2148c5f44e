import json
import time

import pytest

from launcher.results.logs import best_update, following, peak_memory, updates_done, validations


def line(update: int, subset: str = "valid", **scores) -> str:
    content = {"epoch": 1, f"{subset}_num_updates": str(update), f"{subset}_wps": "7"}
    content |= {f"{subset}_{name}": str(score) for name, score in scores.items()}
    return f"2000-01-01 00:00:00 | INFO | {subset} | {json.dumps(content)}\n"


def test_validations_are_by_update_and_subset():
    log = [
        "anything | valid | else\n",
        line(10, loss=0.5, accuracy=70, best_accuracy=70),
        line(10, "valid1", accuracy=60),
        line(20, loss=0.4, accuracy=68),
        line(20, loss=0.4, accuracy=69),  # again, after an interruption
        line(30, loss=0.3)[:-20] + '"}\n',  # incomplete
        # As fairseq-hydra-train writes it.
        line(40, loss=0.2).replace(
            "2000-01-01 00:00:00 | INFO | valid | ", "[2000-01-01 00:00:00,7][valid][INFO] - "
        ),
    ]
    assert validations(log) == {
        10: {"valid": {"loss": 0.5, "accuracy": 70}, "valid1": {"accuracy": 60}},
        20: {"valid": {"loss": 0.4, "accuracy": 69}},
        40: {"valid": {"loss": 0.2}},
    }


@pytest.mark.parametrize(
    ("metric", "scores", "best"),
    [
        ("accuracy", (70, 69), 10),
        ("loss", (0.5, 0.4), 20),
        # Of equal ones the last, as fairseq chooses checkpoint_best.pt, of which at_best has the other metrics.
        ("accuracy", (70, 70), 20),
        ("loss", (0.5, 0.5), 20),
        ("mcc", ("nan", 0), 20),
    ],
)
def test_best_is_the_highest_metric_or_the_lowest_loss(metric, scores, best):
    log = [line(update, **{metric: score}) for update, score in zip((10, 20), scores, strict=True)]
    assert best_update(validations(log), metric) == best


@pytest.mark.parametrize(
    ("log", "message"),
    [([], "no validation"), ([line(10, loss=1.0, f1=3)], "lack accuracy, they have only loss, f1")],
)
def test_a_log_without_the_metric_is_refused(log, message):
    with pytest.raises(ValueError, match=message):
        best_update(validations(log), "accuracy")


def test_peak_memory_is_the_highest_of_all_lines():
    log = [
        '| INFO | train_inner | {"epoch": 1, "peak_gb": "1.25", "lr": "1"}',
        '| INFO | train | {"epoch": 1, "train_peak_gb": "1.31"}',
        '| INFO | train_inner | {"epoch": 2, "peak_gb": "0.9"}',
    ]
    assert peak_memory(log) == 1.31
    assert peak_memory(["nothing"]) is None


def test_validations_are_reported_during_the_training_and_the_last_at_its_end(tmp_path):
    path, reported = tmp_path / "log.txt", []
    path.write_text(line(5, accuracy=50))
    with following(path, lambda *what: reported.append(what), seconds=0.01):
        with open(path, "a") as file:
            file.write(
                f"some other line\n{line(10, accuracy=80)}{line(10, 'valid1', accuracy=70)}{line(20)[:-30]}"
            )
        deadline = time.monotonic() + 10
        while len(reported) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        with open(path, "a") as file:
            file.write(f"\n{line(20, accuracy=81)}")
    assert reported == [
        (10, "valid", {"accuracy": 80}), (10, "valid1", {"accuracy": 70}), (20, "valid", {"accuracy": 81})
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("log", "done"),
    [
        ("", 0),
        ("no numbers", 0),
        ('{"num_updates": "100"}\n{"train_num_updates": "125", "wall": "3"}\nSaved', 125),
        ('{"valid_num_updates": "50"}\n{"num_updates": "1', 50),
    ],
)
def test_the_last_number_of_updates_in_a_log_counts(tmp_path, log, done):
    (tmp_path / "log.txt").write_text("x" * 20_000 + log)
    assert updates_done(tmp_path / "log.txt") == done
    assert updates_done(tmp_path / "none.txt") == 0
