from pathlib import Path

import pytest

from preprocess.atomic_folder import atomic_folder, recover


def write(folder, text):
    with atomic_folder(folder) as temporary:
        (temporary / "a").write_text(text)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_folder_is_replaced_as_a_whole(tmp_path):
    folder = tmp_path / "not" / "there" / "x"
    write(folder, "old")
    (folder / "b").write_text("of the old one")
    write(folder, "new")
    assert (folder / "a").read_text() == "new"
    assert names(folder) == ["a"]
    assert names(folder.parent) == ["x"]


def test_an_error_keeps_the_old_folder(tmp_path):
    write(tmp_path / "x", "old")

    def fail():
        with atomic_folder(tmp_path / "x") as temporary:
            (temporary / "a").write_text("new")
            raise KeyError

    pytest.raises(KeyError, fail)
    assert (tmp_path / "x" / "a").read_text() == "old"
    assert names(tmp_path) == ["x"]


@pytest.mark.parametrize(("stopped_after", "kept", "restored"), [(1, "old", True), (2, "new", False)])
def test_a_run_that_is_killed_between_two_renames_is_recovered(
    tmp_path, monkeypatch, stopped_after, kept, restored
):
    folder = tmp_path / "x"
    write(folder, "old")
    renamed, rename = [], Path.rename

    def rename_or_stop(self, target):
        rename(self, target)
        renamed.append(target)
        if len(renamed) == stopped_after:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", rename_or_stop)
        pytest.raises(KeyboardInterrupt, write, folder, "new")

    assert ".x.0.old" in names(tmp_path)
    assert recover(folder) is restored
    assert (folder / "a").read_text() == kept
    assert not [name for name in names(tmp_path) if name.endswith(".old")]
    assert recover(folder) is False
