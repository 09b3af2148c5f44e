#!/usr/bin/env python3
"""Trains a grid of students and prints one table: task x method x init x mapping x stages x seeds.

    python experiments.py --task mrpc,rte --method none,kd,att_kl_learn --init 0,1,2 --init 3,4,5 \\
        --mapping skip,last --stage two --seeds 1,2,3,4 --group first -- --num-workers 2

Each run has a folder of its own below OUT/GROUP, named by all that decides its result: finished runs
are skipped, interrupted ones go on, a failed one stops no other. The table of means and deviations
is printed and written to OUT/GROUP/table.md and table.csv.
"""

import argparse
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from launcher.arguments import Parser, positive, rate, split
from launcher.experiment import Experiment, NotReady
from launcher.flags import check_flags
from launcher.methods import known_methods
from launcher.plan import Grid
from launcher.runner import visible_gpus
from launcher.tasks import PUBLISHED_EPOCHS, TASKS, find_task

STAGES = {"one": "one", "two": "two", "one_stage": "one", "two_stage": "two"}
INIT = re.compile(r"\d+(,\d+)*|all|random(:[1-9]\d*)?")
MAPPING = re.compile(r"skip|last|combine|pkd-skip|pkd-last|top\d+|\d+:\d+(,\d+:\d+)*")
MAPPINGS = "skip, last, combine, pkd-skip, pkd-last, topX such as top10, or pairs such as 0:0,1:4"

# What to use instead of a flag of fairseq-train that every run sets.
INSTEAD = {
    "--save-dir": "--out and --group",
    "--seed": "--seeds",
    "--max-epoch": "--epochs",
    "--max-sentences": "--batch-size",
    "--criterion": "--method",
    "--init-layers": "--init",
    "--encoder-layers": "--init random:N",
    **{flag: flag for flag in ("--batch-size", "--lr", "--cpu", "--teacher", "--mapping")},
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status: 0 all runs are finished, 1 some failed, 2 nothing was started, 130 interrupted."""
    own, flags = split(sys.argv[1:] if arguments is None else arguments)
    parser = _parser()
    args = parser.parse_args(own)
    try:
        check_flags(flags, INSTEAD)
    except ValueError as error:
        parser.error(str(error))
    try:
        experiment = Experiment(
            _grid(args, flags),
            args.out / args.group,
            data=args.data,
            teacher=args.teacher,
            trainer=args.trainer,
            gpus=[] if args.cpu else visible_gpus(),
            jobs=args.jobs,
        )
    except NotReady as error:
        parser.exit(2, f"{error}\n")
    return experiment.show() if args.dry_run else experiment.run()


def _grid(args: argparse.Namespace, flags: Sequence[str]) -> Grid:
    return Grid(
        tasks=_unique(args.task),
        methods=_unique(args.method),
        inits=tuple(dict.fromkeys(args.init or ["0,1,2"])),
        mappings=_unique(args.mapping or [("skip",)]),
        stages=_unique(args.stage or [("two",)]),
        seeds=_unique([args.seeds]),
        epochs=args.epochs,
        first_epochs=args.stage1_epochs or args.epochs,
        batch_size=args.batch_size,
        lr=args.lr,
        flags=tuple(flags),
    )


def _unique(lists: Iterable[Iterable]) -> tuple:
    return tuple(dict.fromkeys(value for values in lists for value in values))


def _tasks(text: str) -> list[str]:
    try:
        return [find_task(name).name for name in text.split(",")]
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _methods(text: str) -> list[str]:
    known = known_methods()
    for name in text.split(","):
        if name not in known:
            raise argparse.ArgumentTypeError(f"{name!r} is not a method: choose among {', '.join(known)}")
    return text.split(",")


def _init(text: str) -> str:
    if not INIT.fullmatch(text):
        raise argparse.ArgumentTypeError(
            f"{text!r} names no layers: give numbers from 0 such as 0,1,2, or all, random, random:3"
        )
    return text


def _mappings(text: str) -> list[str]:
    parts = text.split(",")
    pairs = ",".join(part for part in parts if ":" in part)  # all pairs in one list are one mapping
    mappings = [part for part in parts if ":" not in part] + ([pairs] if pairs else [])
    for mapping in mappings:
        if not MAPPING.fullmatch(mapping):
            raise argparse.ArgumentTypeError(f"{mapping!r} is not a mapping: choose among {MAPPINGS}")
    return mappings


def _stages(text: str) -> list[str]:
    for name in text.split(","):
        if name not in STAGES:
            raise argparse.ArgumentTypeError(f"{name!r} is not a number of stages: choose one or two")
    return [STAGES[name] for name in text.split(",")]


def _seeds(text: str) -> list[int]:
    return [positive(seed) for seed in text.split(",")]


def _parser() -> Parser:
    parser = Parser(__doc__)
    grid = parser.add_argument_group("what is multiplied (lists: a,b,c; flags may repeat)")
    grid.add_argument(
        "--task", "-t", type=_tasks, action="append", required=True, metavar="A,B", help=f"{', '.join(TASKS)}"
    )
    grid.add_argument(
        "--method",
        "-m",
        type=_methods,
        action="append",
        required=True,
        metavar="A,B",
        help="criterions of the plugin, or none: a student without a teacher",
    )
    grid.add_argument(
        "--init",
        type=_init,
        action="append",
        metavar="LAYERS",
        help="teacher layers the student starts from, counted from 0, or all, or random: none, but as many as the "
        "other students have; random:3 says how many (default: 0,1,2)",
    )
    grid.add_argument(
        "--mapping",
        type=_mappings,
        action="append",
        metavar="A,B",
        help=f"which teacher state each student state learns from: {MAPPINGS} (default: skip)",
    )
    grid.add_argument(
        "--stage",
        "-s",
        type=_stages,
        action="append",
        metavar="A,B",
        help="two: the method's own loss, then the logits; one: all at once (default: two)",
    )
    grid.add_argument(
        "--seeds", type=_seeds, default=[1, 2, 3, 4], metavar="A,B", help="random seeds (default: 1,2,3,4)"
    )

    inputs = parser.add_argument_group("inputs and outputs")
    inputs.add_argument(
        "--data",
        type=Path,
        default=Path("data"),
        metavar="DIR",
        help="folder with <TASK>-bin (default: data)",
    )
    inputs.add_argument(
        "--teacher",
        default="teachers/{task}",
        metavar="PATH",
        help="fine-tuned teacher: a checkpoint, or a folder with checkpoint_best.pt or model.pt; {task} stands for "
        "the task's name (default: teachers/{task})",
    )
    inputs.add_argument(
        "--out", type=Path, default=Path("runs"), metavar="DIR", help="where groups lie (default: runs)"
    )
    inputs.add_argument(
        "--group", default="default", metavar="NAME", help="this grid's folder in OUT (default: default)"
    )

    training = parser.add_argument_group("training (defaults: the published settings of each task)")
    training.add_argument(
        "--epochs",
        type=positive,
        default=PUBLISHED_EPOCHS,
        metavar="N",
        help="epochs of a run (default: 10)",
    )
    training.add_argument(
        "--stage1-epochs", type=positive, metavar="N", help="epochs of a first stage (default: as --epochs)"
    )
    training.add_argument("--batch-size", type=positive, metavar="N", help="sentences an update")
    training.add_argument("--lr", type=rate, metavar="LR", help="highest learning rate")

    how = parser.add_argument_group("how")
    how.add_argument("--jobs", type=positive, default=1, metavar="N", help="runs at a time (default: 1)")
    how.add_argument("--cpu", action="store_true", help="use no GPU (default: the GPUs there are, one a run)")
    how.add_argument("--dry-run", action="store_true", help="print the plan and every command, start nothing")
    how.add_argument(
        "--trainer", metavar="PROGRAM", help="the fairseq-train to call (default: the environment's)"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
