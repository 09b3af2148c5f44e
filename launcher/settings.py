"""What `experiments.py` is asked for: its flags, the grid file they name, and the defaults."""

import argparse
from collections.abc import Iterable, Sequence

from .arguments import Parser, split
from .flags import check_flags, merged
from .grid_file import read_grid
from .listed import read_list
from .options import DEFAULTS, make_parser
from .overrides import as_flags
from .plan import FINETUNING, METHOD, PREDICTION, Grid

# What to use instead of a flag of fairseq-train that every run sets.
INSTEAD = {
    "--save-dir": "--out and --group",
    "--seed": "--seeds",
    "--max-epoch": "--epochs",
    "--max-sentences": "--batch-size",
    "--criterion": "--method",
    "--init-layers": "--init",
    "--encoder-layers": "--init random:N",
    **{flag: flag for flag in ("--batch-size", "--lr", "--cpu", "--teacher", "--mapping", "--data")},
}

# What the models of a file stand for; said again, it does no harm.
IMPLIED = {
    PREDICTION: {"method": [["kd"]], "stage": [["two"]]},
    FINETUNING: {"method": [["none"]], "stage": [["one"]]},
}

UNUSED = {PREDICTION: ("stage1_epochs",), FINETUNING: ("stage1_epochs", "teacher", "teacher_epochs")}


def read_arguments(
    description: str | None, arguments: Sequence[str]
) -> tuple[argparse.Namespace, Grid, Parser]:
    """All settings, and the grid they make; whatever is wrong ends the program with a sentence.

    What the command line says wins over what --grid says, and that over the defaults.
    """
    own, words = split(arguments)
    parser = make_parser(description)
    given = vars(parser.parse_args(own))
    try:
        flags = as_flags(words)
        if "grid" in given:
            lines, written = read_grid(given["grid"], parser)
            parser.source = f"--grid {given['grid']}: "
            given = vars(parser.parse_args(lines)) | given
            parser.source = ""
            flags = merged(as_flags(written), flags)
        check_flags(flags, INSTEAD)
        given |= _models(given)
    except ValueError as error:
        parser.error(str(error))

    lacking = [f"--{name}" for name in ("task", "method") if name not in given]
    if lacking:
        parser.error(f"the following arguments are required: {', '.join(lacking)}")
    args = argparse.Namespace(**DEFAULTS | given)
    return args, _grid(args, flags), parser


def _models(given: dict) -> dict:
    """What -e and --pass_dic settle; ValueError where they do not go together."""
    kind = given.get("experiment", METHOD)
    if kind == METHOD:
        if "pass_dic" in given:
            raise ValueError(f"--pass_dic {given['pass_dic']} is for -e pred and -e finetune: leave one out")
        return {"models": ()}

    for name in ("method", "stage", "init", "mapping"):
        if name in given and given[name] != IMPLIED[kind].get(name):
            raise ValueError(
                f"--{name} does not go with -e {kind}, whose models --pass_dic lists: leave one out"
            )
    for name in UNUSED[kind]:
        if name in given:
            flag = "--" + name.replace("_", "-")
            raise ValueError(f"{flag} does not go with -e {kind}, which has no use for it: leave it out")
    if "pass_dic" not in given:
        raise ValueError(f"-e {kind} needs --pass_dic FILE, which lists the models to start from")
    return {**IMPLIED[kind], "models": read_list(given["pass_dic"], "--pass_dic")}


def _grid(args: argparse.Namespace, flags: Sequence[str]) -> Grid:
    return Grid(
        tasks=_unique(args.task),
        methods=_unique(args.method),
        inits=tuple(dict.fromkeys(args.init)),
        mappings=_unique(args.mapping),
        stages=_unique(args.stage),
        seeds=_unique([args.seeds]),
        epochs=args.epochs,
        first_epochs=args.stage1_epochs or args.epochs,
        batch_size=args.batch_size,
        lr=args.lr,
        flags=tuple(flags),
        kind=args.experiment,
        models=args.models,
    )


def _unique(lists: Iterable[Iterable]) -> tuple:
    return tuple(dict.fromkeys(value for values in lists for value in values))
