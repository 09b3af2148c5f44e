"""Overrides of fairseq-train's flags: normalised once to a mapping of flag to value, and rendered back to words.

The user writes them after `--`, as flags (`--clip-norm 1.0`) or as hydra's overrides (`optimization.clip_norm=1.0`), or
under `flags:` in a grid file.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

# True is a switch that is on; a tuple has the values of a flag that takes several.
Value = bool | str | tuple[str, ...]
Overrides = Mapping[str, Value]

# The groups of a fairseq config whose keys are flags of fairseq-train.
GROUPS = frozenset(
    "common distributed_training dataset optimization checkpoint bmuf ema "
    "task model criterion optimizer lr_scheduler".split()
)

# Flags that an override of the group itself sets: `optimizer=adam`, `optimizer._name=adam`.
CHOICES = {
    "task": "--task",
    "model": "--arch",
    "criterion": "--criterion",
    "optimizer": "--optimizer",
    "lr_scheduler": "--lr-scheduler",
}

# Flags of fairseq-train that have a short form.
SHORT = {"-a": "--arch"}

HYDRA = re.compile(r"(?:\+{0,2})([a-z]\w*)(?:\.(\w+))?=(.*)", re.DOTALL)
REMOVAL = re.compile(r"~[a-z]\w*(\.\w+)?(=.*)?")

# Flags that the launcher sets, or that would break how it finds, resumes and compares runs. For example: with a longer
# save interval, the best validation may have no checkpoint. Combined subsets give no score of the first subset, which
# selects the best checkpoint. A checkpoint that is written asynchronously never becomes checkpoint_last.pt.
SET_HERE = frozenset(
    "--user-dir --task --criterion --valid-subset --combine-valid-subsets --combine-val --disable-validation "
    "--save-dir --restore-file --continue-once --finetune-from-model --checkpoint-suffix "
    "--no-save --no-last-checkpoints --no-save-optimizer-state "
    "--save-interval --validate-interval-updates --write-checkpoints-asynchronously --save-async "
    "--reset-dataloader --reset-lr-scheduler --reset-meters --reset-optimizer "
    "--best-checkpoint-metric --maximize-best-checkpoint-metric --log-format "
    "--seed --max-epoch --batch-size --max-sentences --lr --cpu".split()
)

# Those that the launcher and the training scripts have as flags of their own.
OWN_FLAGS: Mapping[str, str] = {
    **{flag: flag for flag in ("--lr", "--batch-size", "--seed", "--cpu")},
    "--max-sentences": "--batch-size",
    "--max-epoch": "--epochs",
    "--save-dir": "--out",
}

# The weights of labels and logits, and the temperature of the logits.
WEIGHTS = frozenset(("--hard-weight", "--soft-weight", "--temperature"))

# Switches in the command of every run; --cpu only if the user asks for it.
ALWAYS_ON = frozenset(
    "--no-epoch-checkpoints --no-progress-bar --maximize-best-checkpoint-metric --cpu".split()
)


def read_overrides(words: Sequence[str]) -> dict[str, Value]:
    """Return the overrides in the words after `--`; the last value of a flag counts, and False switches it off.

    In hydra's overrides, [a,b] becomes a,b, and quotes around a value are removed. Raises ValueError for an invalid word.
    """
    overrides: dict[str, Value] = {}
    flag = None  # the flag that may take the next word as its value
    for word in words:
        hydra = HYDRA.fullmatch(word)
        if REMOVAL.fullmatch(word):
            raise ValueError(f"{word} removes an option, which flags cannot do: give it another value")
        if hydra and (hydra[1] in GROUPS or overrides.get(flag) is not True):
            _set(overrides, *_from_hydra(word, *hydra.groups()))
            flag = None
        elif word.startswith("--") or word in SHORT:
            name, equals, text = SHORT.get(word, word).partition("=")
            _set(overrides, name, _switch_or(text) if equals else True)
            flag = None if equals else name
        elif flag is None:
            raise ValueError(f"the arguments after -- contain {word}, which follows no flag: remove it")
        else:
            before = overrides[flag]
            if isinstance(before, bool):
                overrides[flag] = word
            else:
                overrides[flag] = (*((before,) if isinstance(before, str) else before), word)
    return overrides


def read_mapping(given: Any) -> dict[str, Value]:
    """Return the overrides in the `flags:` of a grid file: a list of words, or a mapping of flags to values.

    Raises ValueError for an invalid one.
    """
    if isinstance(given, list):
        return read_overrides([_text(word) for word in given])
    if not isinstance(given, dict):
        raise ValueError(f"expected a list of words, or a mapping of flags to values, got {given!r}")
    overrides: dict[str, Value] = {}
    for key, value in given.items():
        name = str(key)
        if "." in name:
            text = str(value).lower() if isinstance(value, bool) else _text(value)
            overrides |= read_overrides([f"{name}={text}"])
        else:
            flag = "--" + name.removeprefix("--").replace("_", "-")
            _set(overrides, flag, value if isinstance(value, bool) else _text(value))
    return overrides


def merge_overrides(given: Overrides, winning: Overrides) -> dict[str, Value]:
    """Return both, without flags that are switched off; the flags of `winning` come last and win.

    Raises ValueError if a switch is off that every run needs.
    """
    merged = {flag: value for flag, value in given.items() if flag not in winning} | dict(winning)
    for flag, value in merged.items():
        if value is False and flag in ALWAYS_ON:
            raise ValueError(f"the flags after -- switch off {flag}, which this program needs: remove it")
    return {flag: value for flag, value in merged.items() if value is not False}


def as_words(overrides: Overrides) -> list[str]:
    """Render flags and their values as words of a command line."""
    words: list[str] = []
    for flag, value in overrides.items():
        words.append(flag)
        if isinstance(value, str):
            words.append(value)
        elif isinstance(value, tuple):
            words += value
    return words


def without_weights(overrides: Overrides) -> dict[str, Value]:
    """Return the overrides of a run whose stage sets the weights itself, so that the user's have no effect."""
    return {flag: value for flag, value in overrides.items() if flag not in WEIGHTS}


def is_zero(value: Value | None) -> bool:
    """Return whether the value of a flag is the number 0; False for a flag that is not given."""
    try:
        return isinstance(value, str) and float(value) == 0
    except ValueError:  # not a number: fairseq-train refuses it
        return False


def check_overrides(overrides: Overrides, own: Mapping[str, str]) -> None:
    """Raise ValueError for flags that the program sets itself, which names the program's flags for them.

    own  flag of fairseq-train -> flag of the program that sets it, besides OWN_FLAGS
    """
    own = {**OWN_FLAGS, **own}
    if found := [flag for flag in overrides if flag in SET_HERE or flag in own]:
        instead = dict.fromkeys(own[flag] for flag in found if flag in own)
        remedy = f", or give {', '.join(instead)} before --" if instead else ""
        raise ValueError(
            f"the flags after -- contain {', '.join(found)}, which this program sets: remove them{remedy}"
        )


def _set(overrides: dict[str, Value], flag: str, value: Value) -> None:
    overrides.pop(flag, None)  # the order of flags is part of a run's name: the last one counts
    overrides[flag] = value


def _from_hydra(word: str, group: str, key: str | None, value: str) -> tuple[str, Value]:
    """Return the flag and value of an override of hydra."""
    if group not in GROUPS:
        raise ValueError(
            f"{word} names no group of fairseq's options: choose among {', '.join(sorted(GROUPS))}"
        )
    text = _unquoted(value)
    if key in (None, "_name"):
        if group not in CHOICES:
            raise ValueError(f"{word} names no option of {group}: write {group}.KEY=VALUE")
        return CHOICES[group], text
    if text in ("", "null"):
        raise ValueError(f"{word} gives {group}.{key} no value: remove it to use the default")
    return "--" + key.replace("_", "-"), _switch_or(text) if text == value else text


def _switch_or(text: str) -> Value:
    return {"true": True, "false": False}.get(text.lower(), text)


def _unquoted(value: str) -> str:
    """Return a value of hydra in the form that a flag takes."""
    if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"":
        return value[1:-1]
    if value.startswith("[") and value.endswith("]"):
        return ",".join(part.strip() for part in value[1:-1].split(","))
    return value


def _text(value: Any) -> str:
    """Return a value of a grid file as a flag takes it; a list is joined by commas."""
    if isinstance(value, list):
        return ",".join(map(_text, value))
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(f"has {value!r}: give one value or a list of them")
    return str(value)
