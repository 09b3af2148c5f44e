"""How long a run may take, and what is due on the way."""

import math
from dataclasses import dataclass, field
from typing import Optional

from .clock import Clock
from .marks import passed
from .workers import from_first


@dataclass(frozen=True)
class Budget:
    """All times in counted seconds.

    total        what shares are shares of; None for a run without a time budget
    end          when training ends: `total`, or earlier
    validations  when to validate
    checkpoints  {when: share} of checkpoints that are kept
    """

    total: Optional[float] = None
    end: float = math.inf
    validations: tuple[float, ...] = ()
    checkpoints: dict[float, float] = field(default_factory=dict)

    def share(self, elapsed: float) -> Optional[float]:
        """How much of the total is used; None where there is none."""
        return None if self.total is None else elapsed / self.total


@dataclass(frozen=True)
class Due:
    """What is to be done now: a validation, checkpoints by their shares, the end."""

    validation: bool
    checkpoints: list[float]
    over: bool


class Timer:
    """Where a run stands in its budget: one reading an update, the same on every worker.

    Its state, restored, goes on with the time that was counted, and nothing is due a second time. That the time
    is up does not say that what the end asks for was done: a run may be killed, or begin an epoch, in between.
    """

    def __init__(self, budget: Budget, clock: Optional[Clock] = None) -> None:
        self.budget = budget
        self.clock = clock or Clock()
        self.elapsed = 0.0
        self._seen = 0.0
        self._ended = 0.0

    @property
    def share(self) -> Optional[float]:
        return self.budget.share(self.elapsed)

    @property
    def over(self) -> bool:
        return self.elapsed >= self.budget.end

    @property
    def ended(self) -> bool:
        """Whether all was done that the end asks for."""
        return self._ended >= self.budget.end

    def end(self) -> None:
        """Notes that it was, for this budget; a longer one, given later, has its end still before it."""
        self._ended = self.elapsed

    def read(self) -> None:
        """Takes the first worker's time; every worker has to call this once training has begun."""
        if self.clock.running:
            self.elapsed = from_first(self.clock.elapsed)

    def due(self) -> Due:
        """What has become due since the last call."""
        before, self._seen = self._seen, self.elapsed
        checkpoints = [
            self.budget.checkpoints[at] for at in passed(self.budget.checkpoints, before, self.elapsed)
        ]
        validations = passed(self.budget.validations, before, self.elapsed)
        return Due(bool(validations), checkpoints, self.over)

    def state_dict(self) -> dict[str, float]:
        return {"elapsed": self.clock.elapsed, "seen": self._seen, "ended": self._ended}

    def load_state_dict(self, state: dict[str, float]) -> None:
        self.clock.set(state["elapsed"])
        self.elapsed, self._seen = state["elapsed"], state["seen"]
        self._ended = state.get("ended", 0.0)  # checkpoints of earlier versions do not say
