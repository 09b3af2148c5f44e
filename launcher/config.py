"""Reads grids in YAML (`--grid FILE`), whose keys are the names of the long flags.

    task: [mrpc, rte]
    method: [none, kd, att_kl_learn]
    init: [[0, 1, 2], [3, 4, 5]]
    epochs: 2
    cpu: true
    flags: {clip-norm: 1.0, task.autocast: bf16}

`flags` are the arguments after -- in a command line: a list of words, or a mapping of fairseq-train's flags
and of hydra's names to values.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .files import read_yaml
from .model_list import NAME

# A file cannot include another file, and only the command line starts a dry run.
NOT_IN_FILES = ("grid", "dry-run", "help")


def read_grid(path: Path, parser: argparse.ArgumentParser) -> tuple[list[str], list[str]]:
    """Return the content of the file as arguments: those of the program, and those after `--`.

    Raises ValueError if the file is invalid.
    """
    content = read_yaml(path, "--grid")
    if not isinstance(content, dict):
        raise ValueError(f"--grid {path} holds no keys: write lines such as `task: mrpc`")

    own, flags = [], []
    for key, value in content.items():
        name = str(key).replace("_", "-")
        action = _action(parser, name)
        try:
            if name == "flags":
                flags = list(_fairseq_flags(value))
            elif action is None or name in NOT_IN_FILES:
                raise ValueError("is not a flag that a grid may have (--help shows all)")
            else:
                own += _arguments(action, value)
        except ValueError as error:
            raise ValueError(f"--grid {path}: {key} {error}") from None
    return own, flags


def _action(parser: argparse.ArgumentParser, name: str) -> argparse.Action | None:
    actions = (action for action in parser._actions if f"--{name}" in _names(action))
    return next(actions, None)


def _names(action: argparse.Action) -> list[str]:
    return [option.replace("_", "-") for option in action.option_strings]


def _arguments(action: argparse.Action, value: Any) -> list[str]:
    flag = next(option for option in action.option_strings if option.startswith("--"))
    if action.nargs == 0:
        if not isinstance(value, bool):
            raise ValueError(f"is {value!r}: write true or false")
        return [flag] if value else []
    if flag == "--init":
        return [word for init in _inits(value) for word in (flag, init)]
    if flag == "--models":
        return [flag, *_models(value)]

    listed = (action.metavar or "").startswith("A,")
    values = value if listed and isinstance(value, list) else [value]
    texts = [_text(entry, listed, flag == "--mapping") for entry in values]
    if not texts:
        raise ValueError("is empty: leave it out, or name one")
    # Each on its own: pairs in one list of mappings would be taken for one mapping.
    return [word for text in texts for word in (flag, text)]


def _models(value: Any) -> list[str]:
    """Return the models in a list of paths, or a mapping of names to paths."""
    if isinstance(value, dict) and value:
        for name in value:
            if not NAME.fullmatch(str(name)):
                raise ValueError(f"has the name {name!r}: use letters, digits and . _ + - alone")
        return [f"{name}={_text(path, False, False)}" for name, path in value.items()]
    paths = [_text(path, True, False) for path in (value if isinstance(value, list) else [value])]
    if not paths:
        raise ValueError("is empty: leave it out, or name one")
    return paths


def _text(value: Any, listed: bool, is_mapping: bool) -> str:
    if is_mapping and not isinstance(value, str):
        raise ValueError(f"has {value!r}, which is no text: put pairs such as 1:4 in quotes")
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(f"has {value!r}: give one value{' or a list of them' if listed else ''}")
    return str(value)


def _inits(value: Any) -> Iterator[str]:
    """Yield the layer lists in a value: [0, 1, 2], or "0,1,2", or a list of such."""
    several = isinstance(value, list) and not all(type(layer) is int for layer in value)
    for init in value if several else [value]:
        if isinstance(init, list) and init and all(type(layer) is int for layer in init):
            yield ",".join(map(str, init))
        elif type(init) in (str, int):
            yield str(init)
        else:
            raise ValueError(f"has {init!r}: give layers such as [0, 1, 2], or all, random, random:3")


def _fairseq_flags(value: Any) -> Iterator[str]:
    if isinstance(value, list):
        for word in value:
            yield _text(word, True, False)
    elif isinstance(value, dict):
        for name, setting in value.items():
            yield from _setting(str(name), setting)
    else:
        raise ValueError(f"is {value!r}: give a list of words, or a mapping of flags to values")


def _setting(name: str, value: Any) -> list[str]:
    """Return the words of a flag or of hydra's override; true is the bare flag, false --flag=false."""
    if isinstance(value, list):
        value = ",".join(_text(entry, False, False) for entry in value)
    if isinstance(value, bool):
        text = str(value).lower()
    else:
        text = _text(value, True, False)
    if "." in name:
        return [f"{name}={text}"]
    flag = "--" + name.removeprefix("--").replace("_", "-")
    if isinstance(value, bool):
        return [flag] if value else [f"{flag}=false"]
    return [flag, text]
