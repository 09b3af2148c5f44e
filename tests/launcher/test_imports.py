"""The packages of the launcher import each other in one direction only, and nothing that is slow to import."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

LAUNCHER = Path(__file__).parents[2] / "launcher"

# Packages by what they may import, and modules that no package imports.
ALLOWED = {
    "planning": set(),
    "results": {"planning"},
    "execution": {"planning", "results"},
    "report": {"planning", "results"},
}
ENTRANCES = {"cli", "validate"}


def imported(path: Path) -> set[str]:
    """Return the packages and modules directly in launcher/ that a file imports."""
    package = path.relative_to(LAUNCHER).parent.parts
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            above = package[: len(package) + 1 - node.level]
            module = (*above, *filter(None, (node.module or "").split(".")))
            found |= {module[0]} if module else {alias.name for alias in node.names}
    return found


@pytest.mark.parametrize("package", ["", *ALLOWED])
def test_imports_go_one_way(package):
    files = (LAUNCHER / package).glob("*.py")
    found = {path.stem: imported(path) - {package} for path in files}
    if not package:
        entrances = {name for name, modules in found.items() if modules & set(ALLOWED)}
        assert entrances == {"validate"}
        return
    for modules in found.values():
        assert modules & set(ALLOWED) <= ALLOWED[package]
        assert not modules & ENTRANCES


REPORT_ERROR = (
    "from launcher.report import command\ntry: command.main(['--out', 'nowhere'])\nexcept SystemExit: pass"
)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("code", "slow"),
    [
        ("import experiments", {"torch", "fairseq", "numpy", "fairseq_kd"}),
        (REPORT_ERROR, {"torch", "fairseq", "matplotlib", "scipy"}),
    ],
)
def test_plans_and_reports_import_no_slow_package(code, slow):
    code = f"{code}\nimport sys\nprint(sorted({slow} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], cwd=LAUNCHER.parent, capture_output=True, text=True)
    assert done.stdout == "[]\n"
