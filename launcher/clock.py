"""How long a training has taken, interruptions and repeated tries apart."""

import json
import time
from collections.abc import Callable
from pathlib import Path

from .files import write_json

NAME = "clock.json"


def begin(folder: Path, resumed: bool, now: Callable[[], float] = time.time) -> float:
    """Starts to count a try; returns the seconds that earlier ones took.

    An earlier try is taken to have ended with its last line of log: nobody may have seen its end.
    """
    path, spent = folder / NAME, 0.0
    if resumed and path.is_file():
        before = json.loads(path.read_text("utf-8"))
        ended = (folder / "log.txt").stat().st_mtime
        spent = before["spent"] + max(0.0, ended - before["begun"])
    write_json(path, {"spent": round(spent, 1), "begun": now()})
    return spent
