"""Wall-clock time that counts towards a budget."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Optional


class Clock:
    """Counts seconds while it runs, on top of those counted before a restart.

    now  seconds of a clock that never goes back
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._before = 0.0
        self._since: Optional[float] = None

    @property
    def running(self) -> bool:
        return self._since is not None

    @property
    def elapsed(self) -> float:
        """Seconds counted until now."""
        return self._before + (self._now() - self._since if self.running else 0.0)

    def set(self, elapsed: float) -> None:
        """Goes on from this many seconds."""
        self._before = elapsed
        if self.running:
            self._since = self._now()

    def start(self) -> None:
        """Counts from now on; nothing happens where it does already."""
        if not self.running:
            self._since = self._now()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Does not count what happens inside."""
        if not self.running:
            yield
            return

        self._before, self._since = self.elapsed, None
        try:
            yield
        finally:
            self.start()
