"""Which of fairseq-train's flags a user may not give after `--`."""

from collections.abc import Mapping, Sequence

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
