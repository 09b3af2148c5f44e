"""Whether fairseq-train takes command lines, told without starting any.

    python -m fairseq_kd.tasks.check_flags < COMMANDS

COMMANDS  a JSON list of lists of words, the program's name left out; a JSON list of as many sentences is
          printed, each empty where the line is taken
"""

import json
import sys
from collections.abc import Sequence

from ..errors import CannotStart
from .from_flags import read_config


def refusal(flags: Sequence[str]) -> str:
    """Why fairseq-train does not take these words; empty where it does."""
    try:
        read_config(flags)
    except CannotStart as error:
        return " ".join(error.problems)
    return ""


if __name__ == "__main__":
    print(json.dumps([refusal(flags) for flags in json.load(sys.stdin)]))
