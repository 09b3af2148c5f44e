"""The command-line parser of `experiments.py` and the scripts, and its argument types."""

import argparse
from collections.abc import Sequence
from typing import Any, NoReturn

from .datasets import task_name


class Parser(argparse.ArgumentParser):
    """A parser with the module's docstring as help, no abbreviated flags, and errors of one sentence."""

    def __init__(self, description: str | None, **settings: Any) -> None:
        super().__init__(
            description=description,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
            **settings,
        )

    def error(self, message: str) -> NoReturn:
        """Exit with the error, without the long usage that argparse prints."""
        self.exit(2, f"Cannot start: {message} (--help shows all flags).\n")


def split(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the arguments before `--`, for the program, and after it, for fairseq-train."""
    here = arguments.index("--") if "--" in arguments else len(arguments)
    return list(arguments[:here]), list(arguments[here + 1 :])


def names(text: str) -> list[str]:
    """Parse comma-separated names; each is returned once."""
    found = list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} contains no names")
    return found


def tasks(text: str) -> list[str]:
    """Parse comma-separated tasks; return their names as their data has them."""
    try:
        return [task_name(name) for name in names(text)]
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def positive(value: Any) -> int:
    """Parse a whole number from 1."""
    text = str(value)
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1")
    return int(text)


def count(value: Any) -> int:
    """Parse a whole number from 0."""
    text = str(value)
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0")
    return int(text)


def rate(value: Any) -> float:
    """Parse a learning rate."""
    text = str(value)
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a learning rate between 0 and 1")
    return number
