"""Checks the flags of fairseq-train commands, without starting them.

    python -m fairseq_kd.tasks.check_flags < COMMANDS

COMMANDS  a JSON list of commands, each a list of arguments without the program's name

Prints a JSON list with one error message per command, empty if fairseq-train accepts it.
"""

import json
import sys
from collections.abc import Sequence

from ..errors import CannotStart
from .build import read_config


def refusal(flags: Sequence[str]) -> str:
    """Return why fairseq-train refuses these flags; empty if it accepts them."""
    try:
        read_config(flags)
    except CannotStart as error:
        return " ".join(error.errors)
    return ""


if __name__ == "__main__":
    print(json.dumps([refusal(flags) for flags in json.load(sys.stdin)]))
