"""Reads command lines: what the programs that start trainings have in common."""

import argparse
from collections.abc import Sequence

from .datasets import PUBLISHED_EPOCHS, find_task


class Parser(argparse.ArgumentParser):
    """Shows the module's docstring as help, knows flags by their full names only, refuses in one sentence.

    source  where arguments come from that are not those of the command line: begins the sentence
    """

    source = ""

    def __init__(self, description: str | None, **settings) -> None:
        super().__init__(
            description=description,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
            **settings,
        )

    def error(self, message: str):
        """Ends the program, without the twenty lines of usage that argparse puts in front."""
        self.exit(2, f"Cannot start: {self.source}{message} (--help shows all flags).\n")


def split(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """What stands before `--`, the program's own, and after it, for fairseq-train."""
    here = arguments.index("--") if "--" in arguments else len(arguments)
    return list(arguments[:here]), list(arguments[here + 1 :])


def names(text: str) -> list[str]:
    """Comma-separated names, each once."""
    found = list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} names nothing")
    return found


def tasks(text: str) -> list[str]:
    """The same of tasks, as GLUE spells them."""
    try:
        return [find_task(name).name for name in names(text)]
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def positive(text: str) -> int:
    """A whole number from 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1")
    return int(text)


def count(text: str) -> int:
    """A whole number from 0."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0")
    return int(text)


def rate(text: str) -> float:
    """A learning rate."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a learning rate between 0 and 1")
    return number


def add_training_options(parser: argparse.ArgumentParser, when: str = "") -> None:
    """How one model is trained, by a program that trains one; `when` says in which part of its work."""
    parser.add_argument(
        "--epochs",
        type=positive,
        default=PUBLISHED_EPOCHS,
        metavar="N",
        help=f"passes over the training data{when} (default: {PUBLISHED_EPOCHS})",
    )
    parser.add_argument(
        "--batch-size", type=positive, metavar="N", help="sentences an update (default: published, 16 or 32)"
    )
    parser.add_argument(
        "--lr", type=rate, metavar="LR", help="highest learning rate (default: published, 1e-5 or 2e-5)"
    )
    parser.add_argument("--seed", type=positive, default=1, metavar="N", help="random seed (default: 1)")
    parser.add_argument(
        "--trainer", metavar="PROGRAM", help="the fairseq-train to call (default: the environment's)"
    )
    parser.add_argument("--cpu", action="store_true", help="use no GPU (default: the first one there is)")


def add_size_options(parser: argparse.ArgumentParser, when: str = "") -> None:
    """How small a model is pruned; `when` says when it is that small."""
    for name, what in (
        ("layers", "first layers that stay"),
        ("heads", "attention heads of each that stay"),
        ("ffn", "feed-forward neurons of each that stay"),
        ("rank", "dimensions of the word embeddings"),
    ):
        parser.add_argument(f"--{name}", type=positive, metavar="N", help=f"{what}{when} (default: all)")


def add_inference_options(parser: argparse.ArgumentParser) -> None:
    """How a finished model is asked."""
    parser.add_argument(
        "--batch-size",
        type=positive,
        metavar="N",
        help="sentences a batch (default: as in the run's own validations, or 32)",
    )
    parser.add_argument("--cpu", action="store_true", help="use no GPU (default: the first one there is)")
