"""Translates hydra's overrides (`optimization.clip_norm=1.0`) to flags, and checks the flags after `--`."""

import re
from collections.abc import Mapping, Sequence

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


# Set for every run, or contrary to how runs are found, resumed and judged: of validations without a
# checkpoint one could be the best, subsets that are combined have no score of the first, which decides,
# and what is written asynchronously never becomes checkpoint_last.pt.
SET_HERE = frozenset(
    "--user-dir --task --criterion --valid-subset --combine-valid-subsets --combine-val --disable-validation "
    "--save-dir --restore-file --continue-once --finetune-from-model --checkpoint-suffix "
    "--no-save --no-last-checkpoints --no-save-optimizer-state "
    "--save-interval --validate-interval-updates --write-checkpoints-asynchronously --save-async "
    "--reset-dataloader --reset-lr-scheduler --reset-meters --reset-optimizer "
    "--best-checkpoint-metric --maximize-best-checkpoint-metric --log-format "
    "--seed --max-epoch --batch-size --max-sentences --lr --cpu".split()
)

# Weights of labels and logits, and what belongs to the logits.
WEIGHTS = frozenset(("--hard-weight", "--soft-weight", "--temperature"))

# Switches of which a run's command has every one, or --cpu where it is asked for.
ALWAYS_ON = frozenset(
    "--no-epoch-checkpoints --no-progress-bar --maximize-best-checkpoint-metric --cpu".split()
)

# Of fairseq-train itself, what to use instead: it validates whenever it saves.
SAME = {"--validate-interval-updates": "--save-interval-updates"}


def merged(flags: Sequence[str], winning: Sequence[str]) -> list[str]:
    """Both, without those of `flags` that are given again in `winning`."""
    given = {name for name, _ in grouped(winning)}
    kept = [word for name, words in grouped(flags) if name not in given for word in words]
    return [*kept, *winning]


def without_weights(flags: Sequence[str]) -> tuple[str, ...]:
    """Return the flags of a run whose stage sets the weights itself, so that the user's have no effect; see `command`."""
    return tuple(word for name, words in grouped(flags) if name not in WEIGHTS for word in words)


def value_of(flag: str, flags: Sequence[str]) -> str | None:
    """What is given last for a flag that takes a value; None where it is not given."""
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
    """ValueError names those among `flags` that the program sets itself.

    options  what to use instead of a flag of fairseq-train; most of SET_HERE can only be left out
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
    """Each flag's name, and the flag with its values."""
    groups: list[tuple[str, list[str]]] = []
    for word in flags:
        if word.startswith("--") or not groups:
            groups.append((word.partition("=")[0], [word]))
        else:
            groups[-1][1].append(word)
    return groups
