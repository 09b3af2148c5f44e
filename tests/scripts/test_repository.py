"""What the wheel installs, and what git ignores."""

import ast
import subprocess
import tomllib

from tests.tiny import ROOT


def test_the_wheel_installs_only_the_plugin_and_its_compatibility_layer():
    built = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert built["packages"] == ["fairseq_kd", "fairseq_compat"]
    assert all((ROOT / file).is_file() for file in built["force-include"])

    # So these packages cannot import the others of a clone.
    others = {path.stem for path in ROOT.iterdir() if path.is_dir() or path.suffix == ".py"}
    others -= {*built["packages"]}
    assert {"preprocess", "scripts", "launcher", "experiments"} <= others
    imported = {}
    for path in (path for package in built["packages"] for path in (ROOT / package).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module]
            else:
                continue
            imported |= {name.partition(".")[0]: path for name in names}
    assert {name: path for name, path in imported.items() if name in others} == {}


def test_git_ignores_linked_folders_too(tmp_path):
    (tmp_path / ".gitignore").write_bytes((ROOT / ".gitignore").read_bytes())
    (tmp_path / "elsewhere").mkdir()
    for name in ("glue", "data", "runs", ".venv"):
        (tmp_path / name).symlink_to("elsewhere")
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    status = ["git", "-C", tmp_path, "status", "--porcelain", "--untracked-files=all"]
    done = subprocess.run(status, capture_output=True, text=True, check=True)
    assert done.stdout == "?? .gitignore\n"
