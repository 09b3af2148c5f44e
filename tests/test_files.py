"""Atomic writes: a file appears complete, synced to the disk, or not at all."""

import os

import pytest

from fairseq_kd.files import atomic_write


def test_failed_write_keeps_the_previous_file(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"before")
    with pytest.raises(TypeError), atomic_write(path) as file:
        file.writelines([b"half", "no bytes"])
    assert [each.name for each in tmp_path.iterdir()] == ["file"]
    assert path.read_bytes() == b"before"

    with atomic_write(path) as file:
        file.write(b"after")
        assert path.read_bytes() == b"before"
    assert path.read_bytes() == b"after"


def test_file_is_synced_before_the_rename(tmp_path, monkeypatch):
    """Otherwise, a power failure could leave an empty file."""
    done, sync, replace = [], os.fsync, os.replace

    def synced(descriptor):
        done.append(("synced", os.fstat(descriptor).st_size))
        sync(descriptor)

    def replaced(source, target):
        done.append(("replaced", target.name))
        replace(source, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", replaced)
    with atomic_write(tmp_path / "file") as file:
        file.write(b"four")
    assert done == [("synced", 4), ("replaced", "file")]
