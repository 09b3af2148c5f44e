"""Flags of the command line, which are fields of fairseq's config dataclasses: declaration and name."""

from dataclasses import field
from typing import Any


def flag(default: Any, help: str) -> Any:
    """Return a dataclass field with this default and this line in `--help`, which names unit and default.

    default  a list is copied for each config
    """
    if isinstance(default, list):
        return field(default_factory=default.copy, metadata={"help": help})
    return field(default=default, metadata={"help": help})


def flag_name(field_name: str) -> str:
    """Return the flag of a field, such as `--max-tokens` for `max_tokens`."""
    return "--" + field_name.replace("_", "-")
