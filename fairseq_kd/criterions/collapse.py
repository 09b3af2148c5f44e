"""Tells, from what is logged, that what is learned beside the student has come to meet it halfway and more.

Gates that learn fast make it easy for the student: all targets alike, the loss near 0, and nothing learned.
Neither the gates nor the size of the targets need change much for that.
"""

import functools
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from fairseq.logging import metrics

logger = logging.getLogger(__name__)

# Targets that differ by so small a share of what half-open gates leave of the teacher say next to nothing.
COLLAPSED = 0.1


def watch(logging_outputs: Sequence[Mapping[str, Any]]) -> None:
    """Logs `target_spread`, of which `_target_spread` is the meter, and warns when it tells of a collapse."""
    if logging_outputs and "term__target_spread" in logging_outputs[0]:
        metrics.log_derived("target_spread", _target_spread)


def _target_spread(meters) -> float:
    """The mean that is about to be logged."""
    spread = round(float(meters["_target_spread"].avg), 5)
    if spread < COLLAPSED:
        _warn()
    return spread


@functools.cache
def _warn() -> None:
    """Once a run."""
    logger.warning(
        "what the gates make of the teacher's layers has become much the same for every token (target_spread below %g), "
        "so the student's low loss means nothing: give the gates a lower --gate-lr, or none of it (--lad-frozen).",
        COLLAPSED,
    )


def forget_warning() -> None:
    """For the next run in the same process."""
    _warn.cache_clear()
