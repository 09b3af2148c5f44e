"""Files that are there whole or not at all."""

import resource

import numpy as np
import pytest
import torch

from fairseq_kd.errors import CannotStart
from fairseq_kd.evaluation.output_file import atomic_write


@pytest.fixture
def little_room():
    """No file may grow above 100 kB: writing fails as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize(
    "save",
    [
        lambda file: np.savez(file, logits=np.zeros(100_000)),
        lambda file: torch.save({"weight": torch.zeros(1_000_000)}, file),
    ],
)
def test_a_full_disk_is_an_error_and_keeps_the_old_file(tmp_path, little_room, save):
    (tmp_path / "file").write_text("before")
    message = "file cannot be written .File too large.: fix the cause"
    with pytest.raises(CannotStart, match=message), atomic_write(tmp_path / "file") as file:
        save(file)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("file", "before")]


def test_other_errors_are_not_taken_for_a_full_disk(tmp_path):
    with pytest.raises(RuntimeError, match="shape"), atomic_write(tmp_path / "file"):
        raise RuntimeError("shape")
    assert not list(tmp_path.iterdir())
