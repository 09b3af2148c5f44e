"""Which checkpoints a path means."""

import pytest

from fairseq_kd.errors import CannotStart
from fairseq_kd.evaluation.discover import find_checkpoints


@pytest.fixture
def runs(tmp_path):
    for name in ("a/checkpoint_best.pt", "a/checkpoint_last.pt", "b/checkpoint_best.pt", "deep/c/model.pt"):
        path = tmp_path / "runs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "empty").mkdir()
    return tmp_path / "runs"


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("a/checkpoint_last.pt", ["a/checkpoint_last.pt"]),
        ("a", ["a/checkpoint_best.pt", "a/checkpoint_last.pt"]),
        ("", ["a/checkpoint_best.pt", "b/checkpoint_best.pt", "deep/c/model.pt"]),
    ],
)
def test_a_file_a_run_a_folder_of_runs(runs, given, found):
    assert find_checkpoints(str(runs / given)) == [runs / name for name in found]


def test_nothing_there(runs):
    with pytest.raises(CannotStart, match="empty has no checkpoint: give"):
        find_checkpoints(str(runs.parent / "empty"))
    with pytest.raises(CannotStart, match="elsewhere does not exist: give"):
        find_checkpoints(str(runs.parent / "elsewhere"))
