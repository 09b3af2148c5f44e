"""Files of a cache are created for all splits or for none."""

import logging
import shutil

import pytest

from fairseq_kd.data.cache.allocation import format_bytes, free_bytes, preallocate
from fairseq_kd.errors import CannotStart

SIZES = {"valid": 320, "test": 0, "train": 1024**2}
TOGETHER = r"1.0 MiB \(valid 320 bytes, train 1.0 MiB\)"


@pytest.fixture
def free(monkeypatch, tmp_path):
    def set_free(size: int) -> None:
        usage = shutil.disk_usage(tmp_path)._replace(free=size)
        monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)

    return set_free


def test_nothing_is_created_if_one_byte_is_missing(tmp_path, free, caplog):
    caplog.set_level(logging.INFO)
    created, total = [], sum(SIZES.values())
    free(total - 1)
    with pytest.raises(CannotStart, match=rf"needs {TOGETHER} for logits, but 1.0 MiB are free: free"):
        preallocate(tmp_path, "logits", lambda: SIZES, lambda: created.append("files"))
    assert created == []
    free(total)
    preallocate(tmp_path, "logits", lambda: SIZES, lambda: created.append("files"))
    assert created == ["files"]
    assert f"{tmp_path}: logits take 1.0 MiB (valid 320 bytes, train 1.0 MiB), of" in caplog.text


def test_nothing_is_logged_or_created_if_all_files_exist(tmp_path, caplog):
    preallocate(tmp_path, "logits", lambda: {"valid": 0}, lambda: pytest.fail("created"))
    assert not caplog.records


def test_a_disk_that_cannot_be_written_is_an_error(tmp_path):
    def full() -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(CannotStart, match=r"cannot be written \(No space left on device\): free some space"):
        preallocate(tmp_path, "logits", lambda: {"valid": 1}, full)


def test_free_space_is_that_of_the_first_folder_that_exists(tmp_path, free):
    free(77)
    assert free_bytes(tmp_path / "not" / "yet") == 77


@pytest.mark.parametrize(
    ("size", "expected"), [(0, "0 bytes"), (1023, "1023 bytes"), (1536, "1.5 KiB"), (3 * 1024**4, "3.0 TiB")]
)
def test_sizes_have_units(size, expected):
    assert format_bytes(size) == expected
