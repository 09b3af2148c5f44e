"""Finds the training environment, and runs the plugin's programs in it.

The launcher's own Python may lack torch. Descriptions are kept in the user's cache folder, because an import takes seconds.
"""

import contextlib
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from .files import write_json

ROOT = Path(__file__).resolve().parents[1]
PLUGIN = ROOT / "fairseq_kd"

# In a traceback.
RAISED_AT = re.compile(r'File "(.+)", line (\d+)')


def find_trainer(given: str | None) -> str:
    """Return the fairseq-train to call: `given`, or the one next to this Python, on PATH, or in the project's .venv.

    Raises ValueError if there is none.
    """
    if given is not None:
        found = shutil.which(given)
        if found is None:
            raise ValueError(f"--trainer {given} is not a program: give the path of a fairseq-train")
        return found

    found = find_program("fairseq-train")
    if found is None:
        raise ValueError("fairseq-train was not found: run `bash scripts/setup.sh`, or give --trainer PATH")
    return found


def find_program(name: str) -> str | None:
    """Return the program next to this Python, on PATH, or in the project's .venv; None if it is in none of them."""
    folders = (Path(sys.executable).parent, None, ROOT / ".venv" / "bin")
    return next(filter(None, (shutil.which(name, path=folder) for folder in folders)), None)


def find_python(trainer: str) -> str:
    """Return the Python in the folder of a fairseq-train, which has torch; if there is none, this Python."""
    return shutil.which("python", path=Path(trainer).parent) or sys.executable


def importing_project() -> dict[str, str]:
    """Return the environment in which a program imports the packages of this project, installed or not."""
    search = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return os.environ | {"PYTHONPATH": search}


def run_module(python: str, module: str, arguments: Sequence[str] = (), text: str = "") -> Any:
    """Run a module of the plugin, and return the JSON in the last line of its output.

    text  its standard input

    Raises ValueError if Python does not start, the module fails, or prints no JSON.
    """
    # -P, because -m would look for the plugin in the current folder first.
    command = [python, "-P", "-m", f"{PLUGIN.name}.{module}", *arguments]
    try:
        done = subprocess.run(command, env=importing_project(), input=text, capture_output=True, text=True)
        if done.returncode == 0:
            return json.loads(done.stdout.splitlines()[-1])
        error = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        places = [":".join(place) for place in RAISED_AT.findall(done.stderr)]
        found = ", ".join([error, *places[-1:]])
    except (OSError, IndexError, ValueError) as error:
        found = f"{type(error).__name__}: {error}"
    raise ValueError(
        f"{python} cannot import the plugin ({found}): run `bash scripts/setup.sh`, or correct the file that is named"
    )


def describe_criterions(trainer: str | None = None) -> dict[str, dict[str, Any]]:
    """Return the description of all criterions by `fairseq_kd/describe.py`; raises ValueError as `run_module`.

    trainer  value of `--trainer`; None searches for fairseq-train
    """
    return _described(trainer, ())["criterions"]


def describe(trainer: str | None, checkpoints: Collection[Path]) -> dict[Path, dict[str, Any]]:
    """Return `layers` and `positions` of each checkpoint, or its `problem`; raises ValueError as `run_module`."""
    described = _described(trainer, checkpoints)["checkpoints"]
    return {path: described[_stamp(path)] for path in checkpoints}


def _described(trainer: str | None, checkpoints: Collection[Path]) -> dict[str, Any]:
    """Return the criterions, and the checkpoints by stamp, from the cache or from the plugin."""
    python = str(Path(find_python(find_trainer(trainer))).absolute())
    key = [str(ROOT), python, _sources()]
    file = _cache_folder() / f"{hashlib.sha256(' '.join(key[:2]).encode()).hexdigest()[:16]}.json"
    kept = _read(file, key)
    described = kept.get("checkpoints", {})
    # Files beside the checkpoint may cause a problem, so problems are not cached.
    unknown = [path for path in checkpoints if "layers" not in described.get(_stamp(path), {})]
    if unknown or not kept:
        kept = run_module(python, "describe", [str(path.absolute()) for path in unknown]) | {"key": key}
        answers = kept["checkpoints"]
        kept["checkpoints"] = described | {_stamp(path): answers[str(path.absolute())] for path in unknown}
        with contextlib.suppress(OSError):
            file.parent.mkdir(parents=True, exist_ok=True)
            write_json(file, kept)
    return kept


def _sources() -> str:
    """Return a hash of the code that makes and caches the answer, without fairseq."""
    digest = hashlib.sha256()
    for source in (Path(__file__), *sorted(PLUGIN.rglob("*.py"))):
        digest.update(f"{source.name} {source.stat().st_size}\n".encode() + source.read_bytes())
    return digest.hexdigest()


def _stamp(checkpoint: Path) -> str:
    status = checkpoint.stat()
    return f"{checkpoint.absolute()} {status.st_size} {status.st_mtime_ns}"


def _cache_folder() -> Path:
    given = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    # A user without a home folder leaves ~ in the path.
    return (Path(given) if os.path.isabs(given) else ROOT / ".cache") / PLUGIN.name


def _read(file: Path, key: Sequence[str]) -> dict[str, Any]:
    """Return the cached answer; empty if the sources or fairseq have changed since."""
    try:
        kept = json.loads(file.read_text("utf-8"))
        version, text = kept["fairseq"]
        return kept if kept["key"] == key and Path(version).read_text("utf-8") == text else {}
    except (KeyError, OSError, TypeError, ValueError):
        return {}
