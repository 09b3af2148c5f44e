"""What is written aside takes its name when it is whole, and on the disk."""

import os

import pytest

from fairseq_kd.files import whole


def test_it_is_there_whole_or_not_at_all(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"before")
    with pytest.raises(TypeError), whole(path) as file:
        file.writelines([b"half", "no bytes"])
    assert [each.name for each in tmp_path.iterdir()] == ["file"]
    assert path.read_bytes() == b"before"

    with whole(path) as file:
        file.write(b"after")
        assert path.read_bytes() == b"before"
    assert path.read_bytes() == b"after"


def test_all_of_it_is_on_the_disk_before_it_takes_its_name(tmp_path, monkeypatch):
    """Else a power failure may leave the name of an empty file."""
    done, sync, replace = [], os.fsync, os.replace

    def synced(descriptor):
        done.append(("synced", os.fstat(descriptor).st_size))
        sync(descriptor)

    def replaced(source, target):
        done.append(("replaced", target.name))
        replace(source, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", replaced)
    with whole(tmp_path / "file") as file:
        file.write(b"four")
    assert done == [("synced", 4), ("replaced", "file")]
