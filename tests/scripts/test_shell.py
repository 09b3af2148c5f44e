"""The shell scripts: each can be parsed, and needs no program that macOS lacks."""

import re
import subprocess
from itertools import takewhile

import pytest

from tests.tiny import ROOT

SCRIPTS = sorted((ROOT / "scripts").glob("*.sh"))
GNU_ONLY = re.compile(r"\b(realpath|tac|nproc|timeout)\b +[\"$-]|readlink -f|sed -i |date -d|\bmapfile\b")


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_script_can_be_parsed_and_uses_no_gnu_only_program(script):
    done = subprocess.run(["bash", "-n", script], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert GNU_ONLY.findall(script.read_text()) == []


@pytest.mark.parametrize("name", [path.name for path in SCRIPTS if path.name != "help.sh"])
def test_help_is_the_header_comment(name, tmp_path):
    command = ["bash", ROOT / "scripts" / name, "--help"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"  bash scripts/{name}" in done.stdout
    assert done.stdout.splitlines() == [
        line[2:] for line in takewhile(lambda line: line[0] == "#", script_lines(name))
    ]
    assert list(tmp_path.iterdir()) == []


def script_lines(name: str) -> list[str]:
    """Return the lines after the first, each with at least one character."""
    return [line or " " for line in (ROOT / "scripts" / name).read_text().splitlines()[1:]]


@pytest.mark.parametrize("name", ["fetch_minilm.sh", "download_glue.sh"])
def test_a_flag_is_not_taken_for_the_folder_to_fill(name, tmp_path):
    done = subprocess.run(
        ["bash", ROOT / "scripts" / name, "--folder"], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 1
    assert done.stderr.startswith(f"{name}: ")
    assert f"bash scripts/{name}" in done.stderr
    assert list(tmp_path.iterdir()) == []
