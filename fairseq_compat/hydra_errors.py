"""Says in sentences what is wrong with the words of fairseq-hydra-train, before anything starts.

fairseq and hydra answer such mistakes with a traceback, with advice for another mistake, or not at all.
"""

import copy
import dataclasses
import os
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from . import registered

# Longer lists of options hide the sentence that they stand in.
MANY = 20


@contextmanager
def told_before_the_start(module: ModuleType) -> Iterator[None]:
    """Lets fairseq-hydra-train look at its configuration before it goes by it.

    The plugin is imported for that a little before fairseq would. Where the look finds nothing, all goes the
    way that it always went, exceptions included.
    """
    yield
    module.hydra_init = _after_a_look(module.hydra_init)
    module.add_defaults = _and_looked_at(module.add_defaults)


def _after_a_look(hydra_init: Callable[[str], None]) -> Callable[[str], None]:
    """`hydra_init` makes a config of every name, after which hydra misses no file."""

    def checked(cfg_name: str = "config") -> None:
        from hydra._internal.utils import get_args

        if problem := missing_config(get_args()):
            _end(problem)
        hydra_init(cfg_name)

    return checked


def _and_looked_at(add_defaults: Callable[[Any], None]) -> Callable[[Any], None]:
    def checked(cfg) -> None:
        from omegaconf.errors import ConfigKeyError, ValidationError

        given = copy.deepcopy(cfg)
        try:
            # First, for what a plugin registers has to stay unknown to it until fairseq imports the plugin.
            add_defaults(cfg)
        except (ConfigKeyError, ValidationError):
            _look_at(given)
            raise
        _look_at(given)

    return checked


def _look_at(cfg) -> None:
    from fairseq.utils import import_user_module

    folder = cfg.common.user_dir
    try:
        import_user_module(cfg.common)
    except FileNotFoundError as error:
        if error.args != (os.path.abspath(folder),):
            raise
        _end(
            f"common.user_dir={folder} is no folder here, in {os.getcwd()}: give common.user_dir=FOLDER of the plugin."
        )

    problems = problems_of(cfg, Source.of_this_run())
    if problems:
        _end(*problems)


def _end(*problems: str) -> None:
    raise SystemExit(
        "\n  ".join(["Cannot start:", *problems]) if problems[1:] else f"Cannot start: {problems[0]}"
    ) from None


def missing_config(args: Namespace) -> str:
    """Why there is no such config; empty where there is one, or where only hydra knows.

    args  hydra's own, of the command line
    """
    import fairseq

    name, folder = args.config_name, args.config_dir
    if name is None or args.config_path is not None or (folder is not None and not Path(folder).is_dir()):
        return ""

    file = name if name.endswith((".yaml", ".yml")) else f"{name}.yaml"
    folders = [Path(fairseq.__file__).parent / "config", *([Path(folder)] if folder is not None else [])]
    if any((each / file).is_file() for each in folders):
        return ""
    if folder is None:
        return f"--config-name {name} is no config of fairseq's own: give --config-dir FOLDER, the one that holds {file}."

    below = sorted(each.parent for each in Path(folder).rglob(file))
    if below:
        return f"--config-name {name} is not in --config-dir {folder}: give --config-dir {below[0]}, which has it."
    stems = sorted(each.stem for each in Path(folder).glob("*.yaml"))
    there = f"give one of {', '.join(stems)}" if stems else "give another folder, for this one has none"
    return f"--config-name {name}, but there is no {Path(folder) / file}: {there}."


@dataclasses.dataclass(frozen=True)
class Source:
    """Where a configuration comes from: the config's name and the words behind it, `+task.autocast=bf16`."""

    config: str | None = None
    overrides: Sequence[str] = ()

    @classmethod
    def of_this_run(cls) -> "Source":
        from hydra.core.hydra_config import HydraConfig

        if not HydraConfig.initialized():
            return cls()
        hydra = HydraConfig.get()
        return cls(hydra.job.config_name, tuple(hydra.overrides.task))

    @property
    def name(self) -> str:
        return f"--config-name {self.config}" if self.config else "the config"

    def word(self, key: str) -> str:
        """The last word that gives `key`; empty where none does."""
        given = [each for each in self.overrides if each.partition("=")[0].lstrip("+") == key]
        return given[-1] if given else ""


def problems_of(cfg, source: Source) -> list[str]:
    """What fairseq would stumble over in `cfg`, or ignore: one sentence each."""
    from fairseq.dataclass.configs import FairseqConfig
    from omegaconf import DictConfig

    problems = []
    if not cfg.get("task"):
        problems.append("nothing names a task: give --config-dir and --config-name of a config that does.")
    for section, field in FairseqConfig.__dataclass_fields__.items():
        values = cfg.get(section)
        if not isinstance(values, DictConfig):
            continue
        if dataclasses.is_dataclass(field.type):
            problems += _unknown(section, section, values, field.type, source)
            continue
        name = values.get("_name")
        if name is None:
            continue
        if name not in registered.classes(section):
            problems.append(
                f"{source.word(f'{section}._name') or f'{section}._name={name}'} names no {section}: "
                f"{registered.advice(section, name)}."
            )
        elif dataclass := registered.options(section, name):
            problems += _unknown(section, name, values, dataclass, source)
            problems += _unusable(section, values, dataclass)
            problems += _open(section, values, dataclass)
    return problems


def _unknown(section: str, name: str, values, dataclass: type, source: Source) -> list[str]:
    """Keys that are given to `name` and are none of its options."""
    known = dataclass.__dataclass_fields__
    problems, from_config = [], []
    for key in values:
        if key in known:
            continue
        word = source.word(f"{section}.{key}")
        if not word:
            from_config.append(f"{section}.{key}")
            continue
        # Without a plus it replaces what the config gives, which is there still when the word is left out.
        leave = "leave it out" if word.startswith("+") else f"leave it out and add '~{section}.{key}'"
        problems.append(f"{word} is no option of {name}: {_instead(section, key, known)}{leave}.")
    if from_config:
        removed = " ".join(f"'~{each}'" for each in from_config)
        problems.append(
            f"{source.name} gives {', '.join(from_config)}, which {name} does not have: add {removed}."
        )
    return problems


def _instead(section: str, key: str, known) -> str:
    if near := registered.nearest(key, known):
        return f"give {section}.{near} or "
    own = [
        each for each, field in known.items() if each != "_name" and not str(field.default).startswith("${")
    ]
    return f"its own are {', '.join(own)}; " if len(own) <= MANY else ""


def _unusable(section: str, values, dataclass: type) -> list[str]:
    """Values of another type than the option."""
    from omegaconf import OmegaConf
    from omegaconf.errors import ValidationError

    problems = []
    for key in values:
        if key not in dataclass.__dataclass_fields__:
            continue
        try:
            OmegaConf.merge(OmegaConf.structured(dataclass), OmegaConf.masked_copy(values, [key]))
        except ValidationError as error:
            problems.append(f"{section}.{key} cannot be so: {str(error).splitlines()[0]}.")
    return problems


def _open(section: str, values, dataclass: type) -> list[str]:
    """Options that need a value and have none."""
    from omegaconf import MISSING, OmegaConf

    problems = []
    for key, field in dataclass.__dataclass_fields__.items():
        if OmegaConf.is_missing(values, key) or (field.default == MISSING and key not in values):
            meaning = (field.metadata.get("help") or "for it has no default").partition(" (default")[0]
            problems.append(f"{section}.{key} has no value: give {section}.{key}=..., {meaning}.")
    return problems
