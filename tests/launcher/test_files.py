import os
import subprocess
import sys
from pathlib import Path

import pytest

from launcher.files import atomic_write, write_text


def test_two_programs_that_write_one_file_do_not_meet(tmp_path):
    """As two launchers of one group do with its table."""
    table = tmp_path / "table.md"
    code = f"from launcher.files import write_text; from pathlib import Path; write_text(Path({str(table)!r}), 'theirs')"
    with atomic_write(table) as aside:
        aside.write_text("ours")
        subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], check=True)
        assert table.read_text() == "theirs"
    assert (table.read_text(), os.listdir(tmp_path)) == ("ours", ["table.md"])


def test_what_could_not_be_written_leaves_nothing(tmp_path):
    write_text(tmp_path / "table.md", "before")
    with pytest.raises(UnicodeEncodeError):
        write_text(tmp_path / "table.md", "\ud800")
    assert os.listdir(tmp_path) == ["table.md"]
    assert (tmp_path / "table.md").read_text() == "before"
