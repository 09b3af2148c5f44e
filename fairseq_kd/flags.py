"""Declares a command-line flag as a field of a fairseq config dataclass."""

from dataclasses import field
from typing import Any


def flag(default: Any, help: str) -> Any:
    """Return a dataclass field with this default and this line in `--help`, which names unit and default."""
    return field(default=default, metadata={"help": help})
