"""Run directories that another program writes: waits for them, and reads their results."""

import json
import time
from pathlib import Path

SECONDS = 20


def wait_for(folder: Path, pattern: str = "") -> None:
    """Return once `folder` exists, or anything in it that matches `pattern`."""
    deadline = time.monotonic() + SECONDS
    while not (list(folder.glob(pattern)) if pattern else folder.exists()):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def results_in(folder: Path) -> dict[str, dict]:
    """Return the results of the finished runs, by name."""
    return {path.parent.name: json.loads(path.read_text()) for path in folder.glob("*/result.json")}
