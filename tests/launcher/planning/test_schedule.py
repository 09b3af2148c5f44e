"""Schedules end when their runs do, also where several batches make an update."""

from dataclasses import replace
from pathlib import Path

import pytest

from launcher.datasets import TASKS, Data
from launcher.planning.expand import Grid, plan, settle
from launcher.planning.job import Job
from launcher.planning.schedule import scheduled, update_freqs
from launcher.planning.teachers import teacher_spec

MRPC = TASKS["MRPC"]


def grid(*flags: str) -> Grid:
    one = {"tasks": ("MRPC",), "methods": ("kd",), "inits": ("0",), "mappings": ("skip",), "stages": ("one",)}
    return Grid(**one, seeds=(1,), epochs=10, first_epochs=10, batch_sizes=(8,), flags=flags)


@pytest.mark.parametrize(
    ("flags", "epochs", "freqs"),
    [
        ((), 3, [1, 1, 1]),
        (("--update-freq", "4"), 2, [4, 4]),
        (("--update-freq=4,2",), 4, [4, 2, 2, 2]),
        (("--update-freq", "[4, 2]", "--update-freq", "8,8,8"), 2, [8, 8]),
    ],
)
def test_batches_an_update_are_told_for_each_epoch(flags, epochs, freqs):
    assert update_freqs(flags, epochs) == freqs


@pytest.mark.parametrize("given", ["0", "x", "4,0", "2.5", ""])
def test_what_is_no_number_of_batches_is_refused(given):
    with pytest.raises(ValueError, match="the flags after -- give --update-freq .*, which is no number of b"):
        settle(grid("--update-freq", given))


@pytest.mark.parametrize("freq", ["1", "4", "3", "4,2,1", "1,1,1,1,1,2"])
def test_a_run_ends_with_its_schedule(tmp_path, freq):
    flags = ("--update-freq", freq)
    data = Data(tmp_path, MRPC.sentences, "accuracy", ("valid",), "d")
    (run,) = plan(grid(*flags), {"MRPC": data}, {"MRPC": "t"}, {})
    assert run.updates == pytest.approx(Job(run, tmp_path, data, "t", True, tmp_path).updates, rel=0.01)
    assert run.warmup == pytest.approx(137 / 2296 * run.updates, abs=1)

    (tmp_path / "model.pt").write_bytes(b"model")
    teacher = teacher_spec("MRPC", data, tmp_path / "model.pt", 10, 8, flags=flags)
    assert (teacher.updates, teacher.warmup) == (run.updates, run.warmup)


def test_a_schedule_without_the_flag_is_the_published_one():
    assert scheduled(MRPC, 10, 16, 3668) == {"epochs": 10, "updates": 2296, "warmup": 137}
    assert scheduled(MRPC, 10, 8, 3668, ("--update-freq", "2")) == scheduled(MRPC, 10, 16, 3668)


def test_numbers_that_the_flags_give_are_theirs_and_rename_no_run(spec):
    own = ("--update-freq", "4", "--total-num-update", "1148", "--warmup-updates", "69")
    assert scheduled(MRPC, 10, 8, 3668, own) == scheduled(MRPC, 10, 8, 3668)
    assert scheduled(MRPC, 10, 8, 3668, own[:4]) == {"epochs": 10, "updates": 4592, "warmup": 68}
    data = Data(Path("d"), 3668, "accuracy", ("valid",), "d")
    run = replace(spec, batch_size=8, flags=own)
    assert Job(run, Path("r"), data, "t", True, Path("t.pt")).updates == 1150
