"""Asks the plugin about its criterions and about checkpoints, in the training environment's Python.

The launcher's own Python may lack torch. Answers are kept in the user's cache folder, because an import takes seconds.
"""

import contextlib
import hashlib
import json
import os
import re
import subprocess
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from .files import write_json
from .paths import PLUGIN, ROOT, find_python, find_trainer

# In a traceback.
RAISED_AT = re.compile(r'File "(.+)", line (\d+)')


def ask(
    trainer: str | None = None, checkpoints: Collection[Path] = ()
) -> tuple[dict[str, Any], dict[Path, dict[str, Any]]]:
    """Return what `fairseq_kd/describe.py` prints about all criterions, and about these checkpoints.

    trainer  as `--trainer` gives it; None looks for it

    Raises ValueError if the program does not exist, or its Python cannot import the plugin.
    """
    python = str(Path(find_python(find_trainer(trainer))).absolute())
    key = [str(ROOT), python, _sources()]
    stamps = {path: _stamp(path) for path in checkpoints}
    file = _cache_folder() / f"{hashlib.sha256(' '.join(key[:2]).encode()).hexdigest()[:16]}.json"
    kept = _read(file, key)
    described = kept.get("checkpoints", {})
    # A problem may lie in files beside the checkpoint, so only layers are kept.
    asked = [path for path, stamp in stamps.items() if "layers" not in described.get(stamp, {})]
    if asked or not kept:
        answer = _answer(python, [str(path.absolute()) for path in asked])
        described |= {stamps[path]: answer["checkpoints"][str(path.absolute())] for path in asked}
        kept = answer | {"key": key, "checkpoints": described}
        with contextlib.suppress(OSError):
            file.parent.mkdir(parents=True, exist_ok=True)
            write_json(file, kept)
    return kept["criterions"], {path: described[stamp] for path, stamp in stamps.items()}


def _answer(python: str, checkpoints: Sequence[str]) -> dict[str, Any]:
    # In the project's folder, because -m imports the plugin from the current one first.
    command = [python, "-m", f"{PLUGIN.name}.describe", *checkpoints]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, stdin=subprocess.DEVNULL)
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
