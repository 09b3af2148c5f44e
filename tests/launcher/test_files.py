import errno
import os
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from launcher import files
from launcher.files import check_writable, take_lock, write_text
from preprocess.atomic_folder import atomic_file


def test_two_programs_that_write_one_file_do_not_interfere(tmp_path):
    """As two launchers of one group do with its table."""
    table = tmp_path / "table.md"
    code = f"from launcher.files import write_text; from pathlib import Path; write_text(Path({str(table)!r}), 'theirs')"
    with atomic_file(table) as file:
        file.write(b"ours")
        subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], check=True)
        assert table.read_text() == "theirs"
    assert (table.read_text(), os.listdir(tmp_path)) == ("ours", ["table.md"])


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    write_text(tmp_path / "table.md", "before")
    with pytest.raises(UnicodeEncodeError):
        write_text(tmp_path / "table.md", "\ud800")
    assert os.listdir(tmp_path) == ["table.md"]
    assert (tmp_path / "table.md").read_text() == "before"


def test_an_output_folder_is_checked_without_creating_it(tmp_path, monkeypatch):
    check_writable(tmp_path / "not" / "yet", "--out")
    assert list(tmp_path.iterdir()) == []

    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=f"--out {tmp_path}/file/g .* {tmp_path}/file is no folder"):
        check_writable(tmp_path / "file" / "g", "--out")
    monkeypatch.setattr("os.access", lambda path, mode: False)  # root may write anywhere
    with pytest.raises(ValueError, match=f"--out {tmp_path}/g .* {tmp_path} may not be written"):
        check_writable(tmp_path / "g", "--out")


def test_a_file_system_without_locks_gives_one_warning_and_another_error_is_raised(
    tmp_path, monkeypatch, capsys
):
    def fail(file, _) -> None:
        raise OSError(file.error, "message")

    monkeypatch.setattr("fcntl.flock", fail)
    monkeypatch.setattr(files, "_warned", threading.Lock())
    file = SimpleNamespace(name="run/lock", error=errno.ENOLCK)
    assert take_lock(file)
    assert take_lock(file)
    [warning] = capsys.readouterr().err.splitlines()
    assert "run/lock cannot be locked (message)" in warning
    with pytest.raises(OSError, match="message"):
        take_lock(SimpleNamespace(error=errno.EIO))
