"""The house rules a machine can check, over every file that git tracks or would track."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MACHINE_PATH = re.compile(r"(?<![\w.~}])/(work|root|home|tmp)/")
SLOW_TO_IMPORT = {"matplotlib", "pandas", "scipy", "sklearn", "tensorboard", "transformers", "wandb"}
NOTE_TO_SELF = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X)\b")
MEGABYTE = 1 << 20


def tracked() -> list[Path]:
    """Files of the project, new ones included, ignored ones not."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    if listing.returncode != 0:
        pytest.skip("not a git checkout: which files are the project's own is unknown")
    names = listing.stdout.split("\0")
    return [ROOT / name for name in names if name and (ROOT / name).is_file()]


def texts() -> dict[str, str]:
    """Name -> content of every tracked file that is UTF-8 text."""
    found = {}
    for path in tracked():
        try:
            found[str(path.relative_to(ROOT))] = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
    return found


@pytest.mark.parametrize("command", ["ruff check .", "ruff format --check .", "mypy"])
def test_linter_formatter_and_type_checker_find_nothing(command):
    checker = subprocess.run(
        [sys.executable, "-m", *command.split()], cwd=ROOT, capture_output=True, text=True
    )
    assert checker.returncode == 0, checker.stdout + checker.stderr


@pytest.mark.parametrize("package", ["fairseq_kd", "fairseq_compat"])
def test_the_plugin_imports_no_slow_package_at_start_up(package):
    """Each process of a run imports the plugin; scipy.stats alone takes as long as half of torch."""
    top_level = {
        f"{path.relative_to(ROOT)}: {name}"
        for path in (ROOT / package).rglob("*.py")
        for node in ast.parse(path.read_text()).body
        for name in imported(node)
        if name.partition(".")[0] in SLOW_TO_IMPORT
    }
    assert top_level == set()


def imported(node: ast.stmt) -> list[str]:
    """Return the modules that an import statement names; relative imports name none."""
    if isinstance(node, ast.ImportFrom):
        return [node.module or ""] if node.level == 0 else []
    return [alias.name for alias in node.names] if isinstance(node, ast.Import) else []


def test_no_file_names_a_place_on_one_machine():
    lines = [
        f"{name}:{number}: {line.strip()}"
        for name, text in texts().items()
        for number, line in enumerate(text.splitlines(), start=1)
        for place in MACHINE_PATH.findall(line)
        if not (place == "tmp" and name.startswith("tests/"))
    ]
    assert lines == []


def test_no_file_holds_a_note_to_self():
    assert [name for name, text in texts().items() if NOTE_TO_SELF.search(text)] == []


def test_no_file_is_large():
    sizes = {path.relative_to(ROOT): path.stat().st_size for path in tracked()}
    assert {name: size for name, size in sizes.items() if size > MEGABYTE} == {}

    golden = sum(size for name, size in sizes.items() if name.is_relative_to("tests/golden"))
    assert golden < 2 * MEGABYTE


def test_every_config_is_run_by_name_somewhere():
    everything = "\n".join(texts().values())
    configs = [path for path in tracked() if path.parent == ROOT / "configs" and path.suffix == ".yaml"]
    shared = {name for path in configs for name in re.findall(r"^ +- (\w+)$", path.read_text(), re.MULTILINE)}
    unused = [
        path.name
        for path in configs
        if path.stem not in shared and f"--config-name {path.stem}" not in everything
    ]
    assert unused == [], "say in the file how it is run: fairseq-hydra-train ... --config-name NAME"
