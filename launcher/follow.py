"""Tells of the validations of a training while it runs, from what it logs."""

import contextlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from .results import validations

SECONDS_BETWEEN_LOOKS = 1.0

# (update, subset, metrics)
Tell = Callable[[int, str, dict[str, float]], None]


class Log:
    """What is added to a log from now on; a log that becomes shorter was begun anew."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.read = path.stat().st_size if path.is_file() else 0

    def new_lines(self) -> list[str]:
        """Those that were finished since the last call."""
        try:
            with open(self.path, "rb") as file:
                size = file.seek(0, 2)
                self.read = file.seek(self.read if self.read <= size else 0)
                whole = file.read().rpartition(b"\n")[0]
        except FileNotFoundError:
            return []
        self.read += len(whole) + 1 if whole else 0
        return whole.decode("utf-8", "replace").splitlines()


@contextlib.contextmanager
def following(path: Path, tell: Tell, seconds: float = SECONDS_BETWEEN_LOOKS) -> Iterator[None]:
    """Calls `tell` of each validation that is logged meanwhile, from a thread of its own.

    seconds  between two looks at the log
    """
    log, ended = Log(path), threading.Event()

    def look() -> None:
        for update, subsets in validations(log.new_lines()).items():
            for subset, metrics in subsets.items():
                tell(update, subset, metrics)

    def keep_looking() -> None:
        while not ended.wait(seconds):
            look()
        look()

    thread = threading.Thread(target=keep_looking, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
