"""Why a run is given up: sentences, None where it goes on."""

import math
from dataclasses import dataclass
from typing import Optional

# Updates that a loss scale may stay at its minimum.
LOW_SCALE_UPDATES = 100


@dataclass(frozen=True)
class Hopeless:
    """Judges validations of one fixed split.

    metric    what is judged, as it is logged
    limit     what it must be better than; None judges nothing but NaN
    after     from this many counted seconds on
    maximize  more is better
    """

    metric: str = "loss"
    limit: Optional[float] = None
    after: float = 0.0
    maximize: bool = False

    def reason(self, value: float, elapsed: float) -> Optional[str]:
        """value: of the metric after `elapsed` counted seconds."""
        if math.isnan(value):
            return f"the validation's {self.metric} is not a number"
        if self.limit is None or elapsed < self.after:
            return None
        if (value > self.limit) if self.maximize else (value < self.limit):
            return None
        wanted = "above" if self.maximize else "below"
        return (
            f"the validation's {self.metric} is {value:g} after {elapsed / 60:.1f} minutes, and should be {wanted} "
            f"{self.limit:g} after {self.after / 60:g}"
        )


class LowLossScale:
    """Counts successive updates with fp16's loss scale at its minimum or below; `count` survives a restart."""

    def __init__(self, minimum: float) -> None:
        self.minimum = minimum
        self.count = 0

    def reason(self, scale: Optional[float]) -> Optional[str]:
        """scale: of this update; None where gradients are not scaled."""
        low = scale is not None and scale <= self.minimum
        self.count = self.count + 1 if low else 0
        return self.verdict

    @property
    def verdict(self) -> Optional[str]:
        """The reason to stop after the updates that were counted."""
        if self.count < LOW_SCALE_UPDATES:
            return None
        return f"the loss scale was {self.minimum:g} or less for {self.count} updates"
