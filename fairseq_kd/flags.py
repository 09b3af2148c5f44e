"""Declares command-line flags, which are fields of fairseq's config dataclasses, and returns their names."""

from dataclasses import field
from typing import Any


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
