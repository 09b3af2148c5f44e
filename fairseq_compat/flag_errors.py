"""Says in one line which word of a command line fairseq does not take, and what is near to it.

argparse puts its whole usage in front, some 150 lines for fairseq-train.
"""

import argparse
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType

from . import registered

# What a command chooses by name: the flag's name -> the section of fairseq's configuration.
CHOSEN = {"task": "task", "arch": "model", "criterion": "criterion", "optimizer": "optimizer",
          "lr_scheduler": "lr_scheduler"}  # fmt: skip


@contextmanager
def told_in_one_line(module: ModuleType) -> Iterator[None]:
    """Makes the parsers of fairseq's commands end with argparse's last line alone, and with advice in it."""
    yield
    module.get_parser = _one_line(module.get_parser)


def _one_line(get_parser: Callable) -> Callable:
    def made(*args, **kwargs) -> argparse.ArgumentParser:
        parser = get_parser(*args, **kwargs)
        parser.__class__ = OneLineParser
        return parser

    return made


class OneLineParser(argparse.ArgumentParser):
    """Looks at the chosen names before argparse, which would list all there are, and at what it leaves over."""

    def parse_known_args(self, args=None, namespace=None):
        names = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
        for flag in CHOSEN:
            names.add_argument("--" + flag.replace("_", "-"), nargs="?")
        given, _ = names.parse_known_args(args)
        for flag, section in CHOSEN.items():
            name = getattr(given, flag)
            if name is not None and name not in registered.classes(section):
                self.error(
                    f"argument --{flag.replace('_', '-')}: invalid choice: {name!r}: "
                    f"{registered.advice(section, name)}"
                )
        parsed, unknown = super().parse_known_args(args, namespace)
        if getattr(parsed, "task", "") is None:  # fairseq-validate has no default
            self.error("--task is missing: give the one that the checkpoint was trained with")
        return parsed, unknown

    def parse_args(self, args=None, namespace=None):
        parsed, unknown = self.parse_known_args(args, namespace)
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}{self._reasons(parsed, unknown)}")
        return parsed

    def error(self, message: str):
        self.exit(2, f"{self.prog}: error: {message}\n")

    def _reasons(self, parsed: argparse.Namespace, unknown: Sequence[str]) -> str:
        flags = dict.fromkeys(word.partition("=")[0] for word in unknown if word.startswith("--"))
        reasons = [reason for flag in flags if (reason := self._reason(parsed, flag))]
        return f": {'; '.join(reasons)}" if reasons else ""

    def _reason(self, parsed: argparse.Namespace, unknown: str) -> str:
        """Whose flag it is, when it is not that of what is chosen, or which is near; empty where neither is known."""
        for flag, section in CHOSEN.items():
            chosen, others = getattr(parsed, flag, None), _who_has(unknown, section)
            if chosen and others:
                have = "have" if others[1:] else "has"
                return (
                    f"--{flag.replace('_', '-')} {chosen} has no {unknown}, which {', '.join(others)} {have}: "
                    "leave it out"
                )
        near = registered.nearest(
            unknown, (option for each in self._actions for option in each.option_strings)
        )
        return f"give {near}" if near else ""


def _who_has(flag: str, section: str) -> list[str]:
    """The names that a plugin brought which take this flag."""
    key = flag.removeprefix("--").replace("-", "_")
    return [
        name
        for name in registered.plugins(section)
        if key in getattr(registered.options(section, name), "__dataclass_fields__", ())
    ]
