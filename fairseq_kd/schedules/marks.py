"""Moments at which something is due once."""

from collections.abc import Iterable
from typing import Optional

# Shares such as 3 x 0.1 are not exact.
TOLERANCE = 1e-9


def every(interval: Optional[float], begin: float, end: float) -> list[float]:
    """begin + interval, begin + 2 intervals, ... up to end; none without an interval."""
    if interval is None:
        return []
    count = int((end - begin) / interval + TOLERANCE)
    return [begin + number * interval for number in range(1, count + 1)]


def validation_shares(
    interval: Optional[float],
    begin: float = 0.0,
    begin_interval: Optional[float] = None,
    end: float = 1.0,
    end_interval: Optional[float] = None,
) -> list[float]:
    """Shares of the budget at which a validation is due, the end itself left out.

    interval        between two of them; None for none
    begin           until this share, `begin_interval` holds instead
    end             from this share, `end_interval` does
    """
    first = every(interval if begin_interval is None else begin_interval, 0.0, begin)
    last = every(interval if end_interval is None else end_interval, end, 1.0)
    shares = first + every(interval, begin, end) + last
    return [share for share in shares if share < 1.0 - TOLERANCE]


def passed(marks: Iterable[float], before: float, now: float) -> list[float]:
    """The marks after `before`, up to and including `now`."""
    return [mark for mark in marks if before < mark <= now]
