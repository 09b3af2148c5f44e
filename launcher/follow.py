"""Tells of the validations of a training while it runs, from what it logs."""

import contextlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from .results import validations

SECONDS_BETWEEN_LOOKS = 1.0
KNOWN_BY = 1 << 10  # bytes before the place that was read to: some lines, each with the time it was logged

# (update, subset, metrics)
Tell = Callable[[int, str, dict[str, float]], None]


class Log:
    """What is added to a log from now on; one that was begun anew is read from its start.

    Such a log may be as long as the old one by the time it is looked at: it is known by other bytes where the old
    one was read to.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.read, self.end = 0, b""
        if path.is_file():
            with open(path, "rb") as file:
                self._note(file, file.seek(0, 2))

    def new_lines(self) -> list[str]:
        """Those that were finished since the last call."""
        try:
            with open(self.path, "rb") as file:
                file.seek(self.read - len(self.end))
                if file.read(len(self.end)) != self.end:
                    self.read = file.seek(0)
                whole = file.read().rpartition(b"\n")[0]
                self._note(file, self.read + len(whole) + 1 if whole else self.read)
        except FileNotFoundError:
            return []
        return whole.decode("utf-8", "replace").splitlines()

    def _note(self, file: BinaryIO, read: int) -> None:
        self.read = read
        begin = file.seek(max(0, read - KNOWN_BY))
        self.end = file.read(read - begin)


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
