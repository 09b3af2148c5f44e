"""Declares command-line flags, which are fields of fairseq's config dataclasses, and warns of those without effect.

Flags without effect are never refused: one warning lists them before training.
"""

import logging
from collections.abc import Collection, Sequence
from dataclasses import field, fields
from typing import Any

import torch.distributed as dist

logger = logging.getLogger(__name__)


def flag(default: Any, help: str) -> Any:
    """Return the dataclass field of a flag.

    default  the default value; a list is copied for each config
    help     the line in `--help`; it states unit and default, because fairseq does not print them
    """
    if isinstance(default, list):
        return field(default_factory=default.copy, metadata={"help": help})
    return field(default=default, metadata={"help": help})


def flag_name(field_name: str) -> str:
    """Return the flag of a field, such as `--max-tokens` for `max_tokens`."""
    return "--" + field_name.replace("_", "-")


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
