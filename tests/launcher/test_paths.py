import pytest

from launcher.paths import check_writable


def test_a_folder_to_write_is_one_that_could_be_made(tmp_path):
    check_writable(tmp_path / "not" / "yet", "--out")
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_the_way_is_named(tmp_path):
    (tmp_path / "runs").touch()
    with pytest.raises(
        ValueError, match=f"--out {tmp_path}/runs/g cannot be made: {tmp_path}/runs is no folder"
    ):
        check_writable(tmp_path / "runs" / "g", "--out")


def test_a_folder_that_may_not_be_written_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("os.access", lambda path, mode: False)  # root may write anywhere
    with pytest.raises(ValueError, match=f"--out {tmp_path}/g cannot be made: {tmp_path} may not be written"):
        check_writable(tmp_path / "g", "--out")
