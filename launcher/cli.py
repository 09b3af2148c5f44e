"""Reads the settings of `experiments.py` from the command line, the grid file and the defaults."""

import argparse
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .arguments import Parser, split
from .config import read_grid
from .datasets import FINETUNING_BATCH_SIZES, FINETUNING_RATES
from .methods import LOGITS, Methods, check_methods, find_methods
from .model_list import check_names, read_list, read_words, seeds_for
from .options import DEFAULTS, make_parser, methods_help
from .overrides import check_flags, merged, translated, without_false
from .planning.expand import FINETUNING, METHOD, OWN_MAPPING, PREDICTION, Grid

# What to use instead of a flag of fairseq-train that every run sets.
INSTEAD = {
    "--save-dir": "--out and --group",
    "--seed": "--seeds",
    "--max-epoch": "--epochs",
    "--max-sentences": "--batch-size",
    "--criterion": "--method",
    "--init-layers": "--init",
    "--encoder-layers": "--init random:N",
    **{
        flag: flag
        for flag in ("--batch-size", "--lr", "--cpu", "--teacher", "--teacher-cache", "--mapping", "--data")
    },
}

# Settings that a list of models implies. The user may repeat them.
IMPLIED = {
    PREDICTION: {"method": [["kd"]], "stage": [["two"]]},
    FINETUNING: {"method": [["none"]], "stage": [["one"]]},
}

# Values that are tried by default.
TRIED = {
    PREDICTION: {},
    FINETUNING: {"batch_size": [list(FINETUNING_BATCH_SIZES)], "lr": [list(FINETUNING_RATES)]},
}


def read_arguments(
    description: str | None, arguments: Sequence[str]
) -> tuple[argparse.Namespace, Grid, Parser]:
    """Return all settings, the grid that they define, and the parser; exit with one sentence if a setting is invalid.

    The command line wins over --grid, which wins over the defaults. `typed` contains the names of the settings in the
    command line, `given` also those in the file.
    """
    own, words = split(arguments)
    parser = make_parser(description)
    if {"-h", "--help"} & set(own):
        parser.epilog = methods_help()
    given = typed = vars(parser.parse_args(own))
    try:
        flags = translated(words)
        if "grid" in given:
            lines, written = read_grid(given["grid"], parser)
            parser.source = f"--grid {given['grid']}: "
            given = vars(parser.parse_args(lines)) | given
            parser.source = ""
            flags = merged(translated(written), flags)
        flags = without_false(flags)
        check_flags(flags, INSTEAD)
        settings = DEFAULTS | given | _models(given)
        known = find_methods(settings["trainer"])
        check_methods(_unique(settings.get("method", ())), known)
    except ValueError as error:
        parser.error(str(error))

    lacking = [f"--{name}" for name in ("task", "method") if name not in settings]
    if lacking:
        parser.error(f"the following arguments are required: {', '.join(lacking)}")
    args = argparse.Namespace(**settings, typed=frozenset(typed), given=frozenset(given))
    return args, _grid(args, flags, known), parser


def _models(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that follow from -e, --models and --pass_dic; raise ValueError if these conflict."""
    kind = _kind(given)
    if kind == METHOD:
        for name, flag in (("pass_dic", "--pass_dic"), ("listed", "--models")):
            if name in given:
                raise ValueError(
                    f"{flag} is for -e {PREDICTION} and -e {FINETUNING}: leave it out, or add one of them"
                )
        return {"models": ()}

    if not given.get("listed") and "pass_dic" not in given:
        raise ValueError(
            f"-e {kind} needs models to start from: name them with --models PATH, or --pass_dic FILE"
        )

    # As in the original launcher: with a file, --method chooses its entries and --mapping is part of their names.
    words = ("method", "stage", "mapping") if kind == PREDICTION and "pass_dic" in given else ()
    for name in ("method", "stage", "init", "mapping"):
        if name in given and name not in words and given[name] not in (IMPLIED[kind].get(name), [[kind]]):
            layers = ", or name layers as PATH@0,1,2" if name == "init" else ""
            raise ValueError(
                f"--{name} does not go with -e {kind}, whose models are listed: leave it out{layers}"
            )
    models = read_words(given.get("listed", []), "--models")
    if "pass_dic" in given:
        models += read_list(given["pass_dic"], "--pass_dic", *_chosen(given, words))
    check_names(models)
    tried = {name: values for name, values in TRIED[kind].items() if name not in given}
    seeds = seeds_for(models, _unique(given["seeds"]) if "seeds" in given else None)
    tried |= {"seeds": [list(seeds)]} if seeds else {}
    return {**IMPLIED[kind], "mapping": [[OWN_MAPPING]], **tried, "experiment": kind, "models": models}


def _chosen(given: Mapping[str, Any], words: Sequence[str]) -> tuple[tuple[str, ...], str]:
    """Return the methods and the mapping of the models to take from a file; raise ValueError for several mappings."""
    methods, mappings = (
        _unique(given.get(name, ())) if name in words else () for name in ("method", "mapping")
    )
    if len(mappings) > 1:
        raise ValueError(
            f"--mapping {','.join(mappings)} names {len(mappings)} mappings, and --pass_dic lists models of one: give one"
        )
    return methods if methods != (LOGITS,) else (), mappings[0] if mappings else ""


def _kind(given: Mapping[str, Any]) -> str:
    """Return the kind of grid, from -e or `--stage finetune`; raise ValueError if they conflict."""
    stages = {stage for stages in given.get("stage", ()) for stage in stages}
    if FINETUNING not in stages:
        return given.get("experiment", METHOD)
    if len(stages) > 1 or given.get("experiment", FINETUNING) != FINETUNING:
        raise ValueError(
            f"--stage {FINETUNING} means -e {FINETUNING} and stands alone: leave out the other stages, or -e"
        )
    return FINETUNING


def _grid(args: argparse.Namespace, flags: Sequence[str], known: Methods) -> Grid:
    return Grid(
        tasks=_unique(args.task),
        methods=_unique(args.method),
        inits=tuple(dict.fromkeys(args.init)),
        mappings=_unique(args.mapping),
        stages=_unique(args.stage),
        seeds=_unique(args.seeds),
        epochs=args.epochs,
        first_epochs=args.stage1_epochs or args.epochs,
        batch_sizes=_unique(args.batch_size),
        lrs=_unique(args.lr),
        flags=tuple(flags),
        kind=args.experiment,
        models=args.models,
        stage2_from=args.stage2_from,
        known=known,
    )


def _unique(lists: Iterable[Iterable]) -> tuple:
    return tuple(dict.fromkeys(value for values in lists for value in values))
