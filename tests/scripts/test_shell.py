"""The shell scripts: each can be parsed, and needs no program that macOS lacks."""

import re
from itertools import takewhile

import pytest

from tests.processes import bash
from tests.tiny import ROOT

SCRIPTS = sorted((ROOT / "scripts").glob("*.sh"))
GNU_ONLY = re.compile(r"\b(realpath|tac|nproc|timeout)\b +[\"$-]|readlink -f|sed -i |date -d|\bmapfile\b")


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_script_can_be_parsed_and_uses_no_gnu_only_program(script):
    done = bash("-n", script)
    assert (done.returncode, done.stderr) == (0, "")
    assert GNU_ONLY.findall(script.read_text()) == []


@pytest.mark.parametrize("name", [path.name for path in SCRIPTS if path.name != "help.sh"])
def test_help_is_the_header_comment(name, tmp_path):
    done = bash(ROOT / "scripts" / name, "--help", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"  bash scripts/{name}" in done.stdout
    lines = (line or " " for line in (ROOT / "scripts" / name).read_text().splitlines()[1:])
    assert done.stdout.splitlines() == [line[2:] for line in takewhile(lambda line: line[0] == "#", lines)]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["fetch_minilm.sh", "download_glue.sh"])
def test_a_flag_is_not_taken_for_the_folder_to_fill(name, tmp_path):
    done = bash(ROOT / "scripts" / name, "--folder", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith(f"{name}: ")
    assert f"bash scripts/{name}" in done.stderr
    assert list(tmp_path.iterdir()) == []
