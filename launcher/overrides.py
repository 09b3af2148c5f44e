"""hydra's way to name fairseq's options, `optimization.clip_norm=1.0`, turned into fairseq-train's: `--clip-norm 1.0`."""

import re
from collections.abc import Sequence

from .flags import ALWAYS_ON, grouped

# The groups of a fairseq config whose keys are flags of fairseq-train.
GROUPS = frozenset(
    "common distributed_training dataset optimization checkpoint bmuf ema "
    "task model criterion optimizer lr_scheduler".split()
)

# What a group's own name stands for: `optimizer=adam`, `optimizer._name=adam`.
CHOICES = {
    "task": "--task",
    "model": "--arch",
    "criterion": "--criterion",
    "optimizer": "--optimizer",
    "lr_scheduler": "--lr-scheduler",
}

# Of fairseq-train's flags alone these are known by a letter, too.
SHORT = {"-a": "--arch"}

OVERRIDE = re.compile(r"(?:\+{0,2})([a-z]\w*)(?:\.(\w+))?=(.*)", re.DOTALL)
REMOVAL = re.compile(r"~[a-z]\w*(\.\w+)?(=.*)?")


def as_flags(words: Sequence[str]) -> list[str]:
    """The words after `--` with every override as the flag of the same meaning, other words as they are.

    ValueError quotes one that cannot be.
    """
    return without_false(translated(words))


def translated(words: Sequence[str]) -> list[str]:
    """The same with `--flag=false` where a flag is switched off, which `without_false` then takes out.

    true is the bare flag; [a,b] is a,b; quotes around a value are hydra's and fall away.
    """
    flags: list[str] = []
    for before, word in zip(["", *words], words, strict=False):
        match = OVERRIDE.fullmatch(word)
        if REMOVAL.fullmatch(word):
            raise ValueError(f"{word} takes an option away, which flags cannot: give it another value")
        # What follows a flag may be its value, whatever it looks like.
        value = match is None or (before.startswith("--") and match[1] not in GROUPS)
        flags += [SHORT.get(word, word)] if value else _flag(word, *match.groups())
    return flags


def without_false(flags: Sequence[str]) -> list[str]:
    """The flags without each `--flag=false`, and what it takes back: fairseq's switches are off unless named.

    ValueError where that is a switch which every run has on.
    """
    kept: list[tuple[str, list[str]]] = []
    for name, words in grouped(flags):
        if [word.lower() for word in words] != [f"{name}=false"]:
            kept.append((name, words))
        elif name in ALWAYS_ON:
            raise ValueError(f"the flags after -- switch off {name}, which this program needs: leave it out")
        else:
            kept = [group for group in kept if group[0] != name]
    return [word for _, words in kept for word in words]


def _flag(word: str, group: str, key: str | None, value: str) -> list[str]:
    if group not in GROUPS:
        raise ValueError(
            f"{word} names no group of fairseq's options: choose among {', '.join(sorted(GROUPS))}"
        )
    if key in (None, "_name"):
        if group not in CHOICES:
            raise ValueError(f"{word} names no option of {group}: write {group}.KEY=VALUE")
        return [CHOICES[group], _plain(value)]

    flag, text = "--" + key.replace("_", "-"), _plain(value)
    if text.lower() in ("true", "false") and text == value:
        return [flag] if text.lower() == "true" else [f"{flag}=false"]
    if text in ("", "null"):
        raise ValueError(f"{word} gives {group}.{key} no value: leave it out, its default then holds")
    return [flag, text]


def _plain(value: str) -> str:
    """As a flag takes it."""
    if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"":
        return value[1:-1]
    if value.startswith("[") and value.endswith("]"):
        return ",".join(part.strip() for part in value[1:-1].split(","))
    return value
