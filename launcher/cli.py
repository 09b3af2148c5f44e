"""The command line of `experiments.py`: merges flags, grid file and defaults into a checked grid."""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast, get_origin

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from .arguments import Parser, split
from .config import FINETUNING, METHOD, OPTIONS, PREDICTION, Grid, GridConfig, merge, read_grid_file
from .datasets import FINETUNING_BATCH_SIZES, FINETUNING_RATES, update_freqs
from .methods import LOGITS, NO_TEACHER, check_methods, find_methods
from .models import Entry, check_names, read_models, read_models_file, seeds_for
from .overrides import Overrides, check_overrides, merge_overrides, read_mapping, read_overrides

# Flags of fairseq-train that each run gets from a flag of this program, and that flag.
SET_BY_OPTIONS = {
    **{flag: flag for flag in (f"--{name.replace('_', '-')}" for name in OPTIONS)},
    **dict.fromkeys(("--init-layers", "--encoder-layers"), "--init"),
    "--criterion": "--method",
    "--seed": "--seeds",
}

# Settings that a list of models implies. The user may repeat them.
IMPLIED = {
    PREDICTION: {"method": [LOGITS], "stage": ["two"]},
    FINETUNING: {"method": [NO_TEACHER], "stage": ["one"]},
}


def make_parser(description: str | None) -> Parser:
    """Make the parser from the fields of GridConfig; settings that are not given are missing from the namespace."""
    parser = Parser(description, argument_default=argparse.SUPPRESS)
    group: Any = parser
    parser.add_argument(
        "--grid",
        type=Path,
        metavar="FILE",
        help="YAML file with the settings of these flags: `task: [mrpc, rte]`, `init: [[0, 1, 2], all]`, and the arguments "
        "after -- as `flags:`; the command line wins over it",
    )
    for name, field in OPTIONS.items():
        about = field.metadata
        if about["group"]:
            group = parser.add_argument_group(about["group"])
        kind: dict[str, Any] = {"metavar": about["metavar"]}
        if field.type is bool:
            kind = {"action": "store_true"}
        elif name == "models":
            kind |= {"nargs": "+", "action": "extend"}
        elif get_origin(field.type) is list:
            kind |= {"action": "append"}
        group.add_argument(
            f"--{name.replace('_', '-')}", *about["short"], dest=name, help=about["help"], **kind
        )
    group.add_argument(
        "--dry-run", action="store_true", help="print the plan and every command, start nothing"
    )
    return parser


def methods_help() -> str:
    """Return the list of methods by default mapping, or the reason why it is not available."""
    try:
        methods = find_methods()
    except ValueError as error:
        return f"The methods cannot be listed: {error}."
    mappings: dict[str, list[str]] = {}
    for name, method in methods.items():
        mappings.setdefault(method.mapping or "(none)", []).append(name)
    lines = [f"  {mapping:<9} {', '.join(those)}" for mapping, those in mappings.items()]
    return "\n".join(["methods by their default mapping:", *lines])


def read_arguments(description: str | None, arguments: Sequence[str]) -> tuple[Grid, bool]:
    """Return the grid, and whether only its plan is wanted; exit with one sentence if a setting is invalid.

    The command line wins over --grid, which wins over the defaults.
    """
    own, words = split(arguments)
    parser = make_parser(description)
    if {"-h", "--help"} & set(own):
        parser.epilog = methods_help()
    typed = vars(parser.parse_args(own))
    path, dry_run = typed.pop("grid", None), typed.pop("dry_run", False)
    try:
        return _read_grid(path, typed, read_overrides(words)), dry_run
    except (OmegaConfBaseException, ValueError) as error:
        parser.error(str(error).splitlines()[0])


def _read_grid(path: Path | None, typed: Mapping[str, Any], typed_overrides: Overrides) -> Grid:
    merged, given, overrides = OmegaConf.structured(GridConfig), set(), {}
    if path is not None:
        settings, flags = read_grid_file(path)
        given |= merge(merged, settings, f"--grid {path}: ")
        try:
            overrides = read_mapping(flags)
        except ValueError as error:
            raise ValueError(f"--grid {path}: flags: {error}") from None
    given |= merge(merged, typed, "--")
    overrides = merge_overrides(overrides, typed_overrides)
    check_overrides(overrides, SET_BY_OPTIONS)

    config = cast(GridConfig, OmegaConf.to_object(merged))
    entries = _apply_experiment(config, given)
    if lacking := [f"--{name}" for name in ("task", "method") if not getattr(config, name)]:
        raise ValueError(f"the following arguments are required: {', '.join(lacking)}")
    methods = find_methods(config.trainer)
    check_methods(config.method, methods)
    update_freqs(overrides, config.epochs)
    grid = Grid(config, methods, overrides, tuple(entries), frozenset(given))
    _check_mixtures(grid)
    return replace(grid, config=replace(config, init=_with_depths(config.init)))


def _apply_experiment(config: GridConfig, given: set[str]) -> list[Entry]:
    """Return the models that the user lists, and fill in the settings that -e implies.

    Raises ValueError if -e, --models, --pass_dic and other settings conflict.
    """
    if FINETUNING in config.stage:
        if len(config.stage) > 1 or ("experiment" in given and config.experiment != FINETUNING):
            raise ValueError(
                f"--stage {','.join(config.stage)}: {FINETUNING} selects -e {FINETUNING}, which has no other stages and no "
                "other -e: remove the others"
            )
        config.experiment = FINETUNING
    kind = config.experiment
    if kind == METHOD:
        for name in {"pass_dic", "models"} & given:
            raise ValueError(f"--{name} is for -e {PREDICTION} and -e {FINETUNING}: remove it, or add -e")
        return []

    if not {"pass_dic", "models"} & given:
        raise ValueError(
            f"-e {kind} needs models to start from: name them with --models PATH, or --pass_dic FILE"
        )
    # As in the original launcher: with a file, --method chooses its entries and --mapping is part of their names.
    chosen_by = {"method", "mapping"} if kind == PREDICTION and config.pass_dic else set()
    implied = IMPLIED[kind]
    for name in ("method", "stage", "init", "mapping"):
        value = getattr(config, name)
        if name in given and name not in chosen_by and value not in (implied.get(name), [kind]):
            layers = ", or name layers as PATH@0,1,2" if name == "init" else ""
            raise ValueError(
                f"--{name} {','.join(value)} does not go with -e {kind}, which trains the listed models: remove it{layers}"
            )
    if len(config.mapping) > 1:
        raise ValueError(
            f"--mapping {','.join(config.mapping)} contains {len(config.mapping)} mappings, and --pass_dic lists models of "
            "one: give one"
        )
    entries = read_models(config.models, "--models")
    if config.pass_dic:
        methods = config.method if config.method != [LOGITS] else []
        entries += read_models_file(
            config.pass_dic, "--pass_dic", methods if chosen_by else [], "".join(config.mapping)
        )
    check_names(entries)
    config.method, config.stage, config.init, config.mapping = implied["method"], implied["stage"], [], []
    if kind == FINETUNING:
        config.batch_size = config.batch_size or list(FINETUNING_BATCH_SIZES)
        config.lr = config.lr or list(FINETUNING_RATES)
    config.seeds = seeds_for(entries, config.seeds if "seeds" in given else None) or config.seeds
    return entries


def _check_mixtures(grid: Grid) -> None:
    """Raise ValueError if a mapping mixes all hidden states, and a method pairs layers."""
    mixing = [mapping for mapping in grid.config.mapping if mapping.startswith("combine")]
    methods = {name: grid.methods[name] for name in grid.config.method}
    clashing = [name for name, method in methods.items() if method.mapping and not method.mixes_states]
    if mixing and clashing:
        raise ValueError(
            f"--mapping {mixing[0]} mixes all hidden states, but --method {','.join(clashing)} compares pairs of layers: "
            "remove one of the two"
        )


def _with_depths(inits: Sequence[str]) -> list[str]:
    """Fill in the depth of `random`: that of the other students; raise ValueError if they have none or several."""
    if "random" not in inits:
        return list(inits)
    depths = sorted({_depth(init) for init in inits} - {None})
    if len(depths) != 1:
        found = f"these have depths {' and '.join(map(str, depths))}" if depths else "none of these has one"
        raise ValueError(
            f"--init random takes its depth from the other students, and {found}: write random:3 for 3 layers"
        )
    return list(dict.fromkeys(f"random:{depths[0]}" if init == "random" else init for init in inits))


def _depth(init: str) -> int | None:
    """Return the number of layers that an --init defines; None if it depends on the teacher or other students."""
    if init.startswith("random:"):
        return int(init.removeprefix("random:"))
    return None if init in ("all", "random") else init.count(",") + 1
