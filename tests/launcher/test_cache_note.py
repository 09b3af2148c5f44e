"""The plan suggests a teacher cache, with its size, if that saves time and fits the disk."""

import json
import shutil

import pytest

import experiments

MIB = 2**20
# Of the kinds of runs in their order: kd, and both stages of att_kl_learn.
SIZES = [
    {"train/logits": MIB},
    {"train/attention-4": 3 * MIB},
    {"train/logits": MIB, "valid/logits": MIB // 2},
]


@pytest.fixture
def note(call, capsys, monkeypatch):
    """Plan 2 runs of `none` and 6 with a teacher; return the note."""

    def planned(*flags: str, epochs: int = 4, sizes=SIZES) -> str:
        monkeypatch.setenv("FAKE_SIZES", json.dumps(sizes))
        grid = ["--method", "none,kd,att_kl_learn", "--seeds", "1,2", "--epochs", str(epochs), "--dry-run"]
        assert experiments.main([*call, *grid, *flags]) == 0
        lines = capsys.readouterr().err.splitlines()
        return "".join(line for line in lines if "--teacher-cache DIR" in line)

    return planned


def test_it_states_the_size_of_shared_files_and_the_passes(note):
    found = note()
    assert "would store 4.5 MiB" in found
    assert "compute 3 times the training data instead of 24 times" in found


def test_a_grid_that_a_cache_does_not_help_has_none(note, monkeypatch):
    assert note(epochs=2) == ""  # saves 33,012 sentences
    assert note("--teacher-cache", "caches") == ""
    assert note(sizes=[]) == ""
    usage = shutil.disk_usage(".")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=4 * MIB))
    assert note() == ""
