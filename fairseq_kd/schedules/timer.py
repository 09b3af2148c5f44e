"""Counts the training time of a run, and returns the validations and checkpoints that are due."""

import math
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple, Optional

from ..process_groups import broadcast_from_rank0

# Multiples of a share, such as 3 x 0.1, are not exact.
TOLERANCE = 1e-9


@dataclass(frozen=True)
class Budget:
    """When a run validates, keeps checkpoints and ends. All times are in counted seconds.

    total        the time that shares refer to; None without a time budget
    end          when training ends: `total`, or earlier
    validations  when to validate
    checkpoints  {when: share} of checkpoints to keep
    """

    total: Optional[float] = None
    end: float = math.inf
    validations: tuple[float, ...] = ()
    checkpoints: dict[float, float] = field(default_factory=dict)


class Due(NamedTuple):
    """Actions that are due: a validation, checkpoints of these shares, the end of training."""

    validation: bool
    checkpoints: list[float]
    over: bool


class Timer:
    """Counts the training time of a run, including the time before restarts.

    `elapsed` is read once per update and equal on every worker; `counted` is this worker's time now. `over` and `ended`
    differ if a run is killed, or begins an epoch, after its time is used and before its last checkpoint.

    now  returns seconds of a monotonic clock
    """

    def __init__(self, budget: Budget, now: Callable[[], float] = time.monotonic) -> None:
        self.budget = budget
        self.elapsed = 0.0
        self._now = now
        self._before = 0.0
        self._since: Optional[float] = None
        self._seen = 0.0
        self._ended = 0.0

    @property
    def running(self) -> bool:
        """Whether time is counted now."""
        return self._since is not None

    @property
    def counted(self) -> float:
        """Seconds counted so far."""
        return self._before + (self._now() - self._since if self.running else 0.0)

    def start(self) -> None:
        """Start to count, unless the timer runs already."""
        if not self.running:
            self._since = self._now()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Do not count the time inside this context."""
        was_running = self.running
        self._before, self._since = self.counted, None
        try:
            yield
        finally:
            if was_running:
                self.start()

    def read(self) -> None:
        """Update `elapsed` from rank 0; every worker must call this."""
        if self.running:
            self.elapsed = broadcast_from_rank0(self.counted)

    @property
    def share(self) -> Optional[float]:
        """Share of the total that is used; None without a time budget."""
        return None if self.budget.total is None else self.elapsed / self.budget.total

    @property
    def over(self) -> bool:
        """Whether the time of this budget is used up."""
        return self.elapsed >= self.budget.end

    @property
    def ended(self) -> bool:
        """Whether the last validation and checkpoint of this budget are done."""
        return self._ended >= self.budget.end

    def end(self) -> None:
        """Record that the last validation and checkpoint are done. A run with a longer budget is then not ended."""
        self._ended = self.elapsed

    def due(self) -> Due:
        """Return the actions that have become due since the last call. No action is due twice, also after a restart."""
        before, self._seen = self._seen, self.elapsed
        validations = times_between(self.budget.validations, before, self.elapsed)
        checkpoints = times_between(self.budget.checkpoints, before, self.elapsed)
        return Due(bool(validations), [self.budget.checkpoints[at] for at in checkpoints], self.over)

    def state_dict(self) -> dict[str, float]:
        """Return the seconds counted, handled by `due`, and reached at the end of the last budget."""
        return {"elapsed": self.counted, "seen": self._seen, "ended": self._ended}

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Continue from a saved state."""
        self._before = self.elapsed = state["elapsed"]
        self._since = self._now() if self.running else None
        self._seen = state["seen"]
        self._ended = state.get("ended", 0.0)  # missing in checkpoints of earlier versions


def times_between(times: Iterable[float], before: float, now: float) -> list[float]:
    """Return the times after `before`, up to and including `now`, in ascending order."""
    return sorted(each for each in times if before < each <= now)


def validation_shares(interval: Optional[float]) -> list[float]:
    """Return the shares of the budget that trigger a validation, without the end itself; none without an interval."""
    count = int(1.0 / interval + TOLERANCE) if interval else 0
    shares = [number * interval for number in range(1, count + 1)]
    return [share for share in shares if share < 1.0 - TOLERANCE]
