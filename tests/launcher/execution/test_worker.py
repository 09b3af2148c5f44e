import os
from pathlib import Path

import pytest

from launcher.datasets import Data
from launcher.execution.worker import begin_attempt, with_first_cache
from launcher.planning.job import Job


def test_seconds_of_all_tries_are_counted_and_the_time_between_them_is_not(tmp_path):
    log = tmp_path / "log.txt"
    assert begin_attempt(tmp_path, resumed=True) == 0  # a run of an earlier version
    assert begin_attempt(tmp_path, resumed=False, now=lambda: 1000.0) == 0
    log.write_text("until 1060")
    os.utime(log, (1060, 1060))
    assert begin_attempt(tmp_path, resumed=True, now=lambda: 5000.0) == 60
    os.utime(log, (5030, 5030))
    assert begin_attempt(tmp_path, resumed=True, now=lambda: 9000.0) == 90
    assert begin_attempt(tmp_path, resumed=False) == 0


@pytest.mark.parametrize(
    ("began", "given", "continues"),
    [
        ("train data", "new", None),
        ("train data --teacher-cache 'a cache/MRPC'", None, "a cache/MRPC"),
        ("train data --teacher-cache old", "new", "new"),
        (None, "new", "new"),
    ],
)
def test_an_interrupted_run_continues_with_stored_or_live_signals_as_it_began(
    spec, tmp_path, began, given, continues
):
    data, teacher = Data(Path("data"), 64, "accuracy", ("valid",), "d"), Path("t/model.pt")
    planned = Job(spec, tmp_path, data, "fairseq-train", True, teacher, teacher, given and Path(given))
    if began is not None:
        (tmp_path / "command.txt").write_text(began + "\n")
        assert with_first_cache(planned) == planned  # no checkpoint: it starts again
        (tmp_path / "checkpoint_last.pt").touch()
    assert with_first_cache(planned).cache == (continues and Path(continues))
