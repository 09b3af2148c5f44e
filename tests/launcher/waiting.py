"""Waits for another program."""

import time
from pathlib import Path

SECONDS = 20


def wait_for(folder: Path, pattern: str = "") -> None:
    """Return once `folder` exists, or anything in it that matches `pattern`."""
    deadline = time.monotonic() + SECONDS
    while not (list(folder.glob(pattern)) if pattern else folder.exists()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
