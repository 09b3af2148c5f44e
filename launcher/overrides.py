"""Translates hydra's overrides (`optimization.clip_norm=1.0`) to flags, and checks the flags after `--`."""

import re
from collections.abc import Mapping, Sequence

# The groups of a fairseq config whose keys are flags of fairseq-train.
GROUPS = frozenset(
    "common distributed_training dataset optimization checkpoint bmuf ema "
    "task model criterion optimizer lr_scheduler".split()
)

# Flags that a group's own name stands for: `optimizer=adam`, `optimizer._name=adam`.
CHOICES = {
    "task": "--task",
    "model": "--arch",
    "criterion": "--criterion",
    "optimizer": "--optimizer",
    "lr_scheduler": "--lr-scheduler",
}

# Flags of fairseq-train that have a short form.
SHORT = {"-a": "--arch"}

OVERRIDE = re.compile(r"(?:\+{0,2})([a-z]\w*)(?:\.(\w+))?=(.*)", re.DOTALL)
REMOVAL = re.compile(r"~[a-z]\w*(\.\w+)?(=.*)?")


def as_flags(words: Sequence[str]) -> list[str]:
    """Translate the overrides among the words after `--` to flags; other words stay as they are.

    Raises ValueError for an invalid override.
    """
    return without_false(translated(words))


def translated(words: Sequence[str]) -> list[str]:
    """Translate overrides, with `--flag=false` for a flag that is switched off (see `without_false`).

    true becomes the bare flag, and [a,b] becomes a,b. Quotes around a value are removed.
    """
    flags: list[str] = []
    for before, word in zip(["", *words], words, strict=False):
        match = OVERRIDE.fullmatch(word)
        if REMOVAL.fullmatch(word):
            raise ValueError(f"{word} takes an option away, which flags cannot: give it another value")
        # A word after a flag may be its value, even if it looks like an override.
        value = match is None or (before.startswith("--") and match[1] not in GROUPS)
        flags += [SHORT.get(word, word)] if value else _flag(word, *match.groups())
    return flags


def without_false(flags: Sequence[str]) -> list[str]:
    """Remove each `--flag=false` and earlier uses of that flag: fairseq's switches are off by default.

    Raises ValueError for a switch that every run needs.
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
    """Return a value of hydra in the form that a flag takes."""
    if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"":
        return value[1:-1]
    if value.startswith("[") and value.endswith("]"):
        return ",".join(part.strip() for part in value[1:-1].split(","))
    return value


# Flags that every run sets, or that would break how runs are found, resumed and compared. For example, the best
# validation could have no checkpoint; combined subsets have no score of the first, which selects the best
# checkpoint; and a checkpoint that is written asynchronously never becomes checkpoint_last.pt.
SET_HERE = frozenset(
    "--user-dir --task --criterion --valid-subset --combine-valid-subsets --combine-val --disable-validation "
    "--save-dir --restore-file --continue-once --finetune-from-model --checkpoint-suffix "
    "--no-save --no-last-checkpoints --no-save-optimizer-state "
    "--save-interval --validate-interval-updates --write-checkpoints-asynchronously --save-async "
    "--reset-dataloader --reset-lr-scheduler --reset-meters --reset-optimizer "
    "--best-checkpoint-metric --maximize-best-checkpoint-metric --log-format "
    "--seed --max-epoch --batch-size --max-sentences --lr --cpu".split()
)

# The weights of labels and logits, and the temperature of the logits.
WEIGHTS = frozenset(("--hard-weight", "--soft-weight", "--temperature"))

# Switches in the command of every run; --cpu only if the user asks for it.
ALWAYS_ON = frozenset(
    "--no-epoch-checkpoints --no-progress-bar --maximize-best-checkpoint-metric --cpu".split()
)

# Replacements among the flags of fairseq-train, which validates whenever it saves.
SAME = {"--validate-interval-updates": "--save-interval-updates"}


def merged(flags: Sequence[str], winning: Sequence[str]) -> list[str]:
    """Return both lists of flags, without those of `flags` that `winning` repeats."""
    given = {name for name, _ in grouped(winning)}
    kept = [word for name, words in grouped(flags) if name not in given for word in words]
    return [*kept, *winning]


def without_weights(flags: Sequence[str]) -> tuple[str, ...]:
    """Return the flags of a run whose stage sets the weights itself, so that the user's have no effect; see `command`."""
    return tuple(word for name, words in grouped(flags) if name not in WEIGHTS for word in words)


def value_of(flag: str, flags: Sequence[str]) -> str | None:
    """Return the last value of a flag; None if the flag or its value is missing."""
    given = [[*words[0].split("=", 1), *words[1:]][1:] for name, words in grouped(flags) if name == flag]
    return given[-1][0] if given and given[-1] else None


def gives_zero(flag: str, flags: Sequence[str]) -> bool:
    """Return whether the last value of a flag is the number 0; False if the flag is missing."""
    value = value_of(flag, flags)
    try:
        return value is not None and float(value) == 0
    except ValueError:  # not a number: fairseq-train refuses it
        return False


def check_flags(flags: Sequence[str], options: Mapping[str, str]) -> None:
    """Raise ValueError for flags that the program sets itself.

    options  the program's option for a flag of fairseq-train; most flags of SET_HERE have none
    """
    options = SAME | dict(options)
    names = dict.fromkeys(flag.partition("=")[0] for flag in flags)
    own = [name for name in names if name in SET_HERE or name in options]
    if own:
        remedies = ", ".join(_remedy(name, options.get(name)) for name in own)
        raise ValueError(f"the flags after -- name {', '.join(own)}, which this program sets: {remedies}")


def _remedy(name: str, option: str | None) -> str:
    if option is None:
        return f"leave out {name}"
    return f"give {name} before --" if option == name else f"use {option} for {name}"


def grouped(flags: Sequence[str]) -> list[tuple[str, list[str]]]:
    """Return the name of each flag, and the flag with its values."""
    groups: list[tuple[str, list[str]]] = []
    for word in flags:
        if word.startswith("--") or not groups:
            groups.append((word.partition("=")[0], [word]))
        else:
            groups[-1][1].append(word)
    return groups
