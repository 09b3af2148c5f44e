"""Validations are told while they are logged, each once."""

import json
import time

import pytest

from launcher.results.logs import Log, following


def line(update: int, accuracy: float, subset: str = "valid") -> str:
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
    path.write_text(line(5, 50))
    with following(path, lambda *what: told.append(what), seconds=0.01):
        with open(path, "a") as file:
            file.write(f"some other line\n{line(10, 80)}{line(10, 70, 'valid1')}")
        deadline = time.monotonic() + 10
        while len(told) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        with open(path, "a") as file:
            file.write(line(20, 81))
    assert told == [
        (10, "valid", {"accuracy": 80}), (10, "valid1", {"accuracy": 70}), (20, "valid", {"accuracy": 81})
    ]  # fmt: skip
