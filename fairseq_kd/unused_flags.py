"""Flags without effect: a warning lists them before training. They are never refused."""

import logging
from collections.abc import Collection, Sequence
from dataclasses import fields
from typing import Any

import torch.distributed as dist

from .flags import flag_name

logger = logging.getLogger(__name__)


def given_flags(cfg: Any, dataclass: type, without: Collection[str] = ()) -> list[str]:
    """Return the flags of a config dataclass whose values in `cfg` are not the defaults.

    without  names of fields to leave out; fields that fairseq fills in from other sections are left out, too
    """
    return [
        flag_name(each.name)
        for each in fields(dataclass)
        if each.name not in {"_name", *without}
        and not str(each.default).startswith("${")
        # The value of a choice is a string or a member of an enumeration.
        and str(getattr(cfg, each.name)) != str(each.default)
    ]


def unused(flags: Sequence[str], reason: str) -> list[str]:
    """Return ['FLAG, FLAG (reason)'], an entry for `warn_unused`; [] without flags."""
    return [f"{', '.join(flags)} ({reason})"] if flags else []


def warn_unused(entries: Sequence[str]) -> None:
    """Log one warning for all entries, on the first worker only."""
    if entries and not (dist.is_initialized() and dist.get_rank()):
        logger.warning("flags without effect: %s", "; ".join(entries))
