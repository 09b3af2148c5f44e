"""Encoder options and error handling that the commands of this package share."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from .encoders import ENCODERS
from .errors import DataError


def add_encoder_options(group: argparse._ActionsContainer, required: bool) -> None:
    """Add --encoder-dir and --encoder."""
    group.add_argument(
        "--encoder-dir",
        type=Path,
        required=required,
        metavar="DIR",
        help="folder with encoder.json, vocab.bpe, dict.txt (gpt2), vocab.txt (wordpiece), tokenizer.json "
        "(huggingface) or sentencepiece.model (sentencepiece)",
    )
    group.add_argument(
        "--encoder",
        choices=list(ENCODERS),
        help="kind of encoder (default: detected from the files in --encoder-dir)",
    )


def check_range(flag: str, value: float | None, allowed: Callable[[float], bool], rule: str) -> None:
    """Raise DataError unless a number is allowed, or not given; `rule` continues "give" in the message."""
    if value is not None and not allowed(value):
        raise DataError(f"{flag} {value} is out of range: give {rule}.")


def exit_status(program: str, work: Callable[[], object], out: Path, note: str) -> int:
    """Run a command; return 0, 1 after an error, which is printed as one line, or 130 after an interruption.

    note  sentence on the incomplete output
    """
    try:
        work()
    except DataError as error:
        message, status = str(error), 1
    except OSError as error:  # no permission, or a full disk
        message, status = f"{error.filename or out}: {error.strerror}; {note}", 1
    except KeyboardInterrupt:
        message, status = f"interrupted; {note}", 130
    else:
        return 0
    print(f"{program}: {message}", file=sys.stderr)
    return status
