"""Defines the flags of `experiments.py`, the parsing of their values, and the defaults."""

import argparse
import re
from pathlib import Path

from .arguments import Parser, count, names, positive, rate, tasks
from .datasets import FINETUNING_BATCH_SIZES, FINETUNING_RATES, PUBLISHED_EPOCHS, TASKS
from .methods import find_methods
from .model_list import FORMAT
from .models import STAGE2_FROM
from .planning.expand import FINETUNING, METHOD, OWN_MAPPING, PREDICTION
from .planning.run_spec import RunSpec

STAGES = {"one": "one", "two": "two", "one_stage": "one", "two_stage": "two", FINETUNING: FINETUNING}
INIT = re.compile(r"\d+(,\d+)*|all|random(:[1-9]\d*)?")
MAPPING = re.compile(r"skip|last|combine|combine-layers|pkd-skip|pkd-last|top\d+|\d+:\d+(,\d+:\d+)*")
MAPPINGS = (
    "skip, last, combine, combine-layers, pkd-skip, pkd-last, topX such as top10, or pairs such as 0:0,1:4"
)

DEFAULTS = {
    "experiment": METHOD,
    "pass_dic": None,
    "listed": [],
    "init": ["0,1,2"],
    "mapping": [[OWN_MAPPING]],
    "stage": [["two"]],
    "seeds": [[1, 2, 3, 4]],
    "data": Path("data"),
    "glue_dir": Path("glue"),
    "max_positions": None,
    "teacher": None,
    "teacher_cache": None,
    "pretrained": None,
    "out": Path("runs"),
    "group": "default",
    "epochs": PUBLISHED_EPOCHS,
    "stage1_epochs": None,
    "stage2_from": RunSpec.stage2_from,
    "teacher_epochs": PUBLISHED_EPOCHS,
    "teacher_batch_size": None,
    "teacher_lr": None,
    "batch_size": [[None]],
    "lr": [[None]],
    "jobs": 1,
    "retries": 1,
    "cpu": False,
    "dry_run": False,
    "trainer": None,
}


def _init(text: str) -> str:
    init = text.replace(" ", "")
    if not INIT.fullmatch(init):
        raise argparse.ArgumentTypeError(
            f"{text!r} names no layers: give numbers from 0 such as 0,1,2, or all, random, random:3"
        )
    return init


def _mappings(text: str) -> list[str]:
    parts = names(text)
    pairs = ",".join(part for part in parts if ":" in part)  # all pairs in one list are one mapping
    # Liu et al. write t_top10 for top10.
    mappings = [part.removeprefix("t_") for part in parts if ":" not in part] + ([pairs] if pairs else [])
    for mapping in mappings:
        if not MAPPING.fullmatch(mapping):
            raise argparse.ArgumentTypeError(f"{mapping!r} is not a mapping: choose among {MAPPINGS}")
    return mappings


def _stages(text: str) -> list[str]:
    given = names(text)
    for name in given:
        if name not in STAGES:
            raise argparse.ArgumentTypeError(
                f"{name!r} is not a number of stages: choose one or two, or finetune"
            )
    return [STAGES[name] for name in given]


def _numbers(text: str) -> list[int]:
    return [positive(number) for number in names(text)]


def _rates(text: str) -> list[float]:
    return [rate(number) for number in names(text)]


def methods_help() -> str:
    """Return the list of methods by default mapping, or the reason why it is not available."""
    try:
        methods = find_methods()
    except ValueError as error:
        return f"The methods are not known: {error}."
    mappings: dict[str, list[str]] = {}
    for name, method in methods.items():
        mappings.setdefault(method.mapping or "(none)", []).append(name)
    lines = [f"  {mapping:<9} {', '.join(those)}" for mapping, those in mappings.items()]
    return "\n".join(["methods by their default mapping:", *lines])


def make_parser(description: str | None) -> Parser:
    """Make the parser; settings that are not given are missing from the namespace, for --grid and DEFAULTS to fill in."""
    parser = Parser(description, argument_default=argparse.SUPPRESS)
    parser.add_argument(
        "--grid",
        type=Path,
        metavar="FILE",
        help="YAML file with the settings of these flags: `task: [mrpc, rte]`, `init: [[0, 1, 2], all]`, and the arguments "
        "after -- as `flags:`; the command line wins over it",
    )
    grid = parser.add_argument_group("grid: all combinations are trained (lists: a,b,c; flags may repeat)")
    grid.add_argument("--task", "-t", type=tasks, action="append", metavar="A,B", help=f"{', '.join(TASKS)}")
    grid.add_argument(
        "--method",
        "-m",
        type=names,
        action="append",
        metavar="A,B",
        help="criterions of the plugin, listed below, or none for a student without a teacher",
    )
    grid.add_argument(
        "--init",
        type=_init,
        action="append",
        metavar="LAYERS",
        help="teacher layers that the student copies, from 0, or all; random:3 for 3 random layers, random for as many as "
        "the other students have (default: 0,1,2)",
    )
    grid.add_argument(
        "--mapping",
        type=_mappings,
        action="append",
        metavar="A,B",
        help=f"teacher state that each student state learns from: {MAPPINGS} (default: the method's own, "
        "listed below)",
    )
    grid.add_argument(
        "--stage",
        "-s",
        type=_stages,
        action="append",
        metavar="A,B",
        help="two: the method's own loss, then the logits; one: all losses at once; finetune: as -e finetune (default: two)",
    )
    grid.add_argument(
        "--batch-size",
        type=_numbers,
        action="append",
        metavar="A,B",
        help=f"sentences per batch of the students (default: the task's published one; with -e {FINETUNING} "
        f"{','.join(map(str, FINETUNING_BATCH_SIZES))})",
    )
    grid.add_argument(
        "--lr",
        type=_rates,
        action="append",
        metavar="A,B",
        help="highest learning rates of the students (default: the task's published one; with -e "
        f"{FINETUNING} {','.join(f'{lr:g}' for lr in FINETUNING_RATES)})",
    )
    grid.add_argument(
        "--seeds", type=_numbers, action="append", metavar="A,B", help="random seeds (default: 1,2,3,4)"
    )

    listed = parser.add_argument_group("your own models, instead of methods")
    listed.add_argument(
        "--experiment",
        "-e",
        choices=(METHOD, PREDICTION, FINETUNING),
        help=f"{METHOD}: students of the methods; {PREDICTION}: second stages that start from the listed models; "
        f"{FINETUNING}: those models trained on the labels, without a teacher (default: {METHOD})",
    )
    listed.add_argument(
        "--models",
        nargs="+",
        action="extend",
        dest="listed",
        metavar="MODEL",
        help="[NAME=]PATH[@LAYERS]: a checkpoint or run directory, and its name in tables; {task} in a path stands for "
        "the task's name; @1,3,5 copies only these layers; @random:3 copies none, for an untrained student with 3 layers of "
        "the model's width",
    )
    listed.add_argument(
        "--pass_dic",
        "--pass-dic",
        type=Path,
        metavar="FILE",
        help=f"file with more models, in JSON or YAML: {FORMAT}; with -e {PREDICTION} the model of a run is used only for "
        "its own task, and --method selects entries by name",
    )

    inputs = parser.add_argument_group("inputs and outputs")
    inputs.add_argument(
        "--data",
        type=Path,
        metavar="DIR",
        help="folder with <TASK>-bin (default: data)",
    )
    inputs.add_argument(
        "--teacher",
        metavar="PATH",
        help="fine-tuned teacher: a checkpoint, or a folder with checkpoint_best.pt or model.pt; {task} stands for "
        "the task's name (default: teachers/{task}, or a new one fine-tuned from --pretrained)",
    )
    inputs.add_argument(
        "--teacher-cache",
        type=Path,
        metavar="DIR",
        help="parent folder of the teacher caches, which all runs share: DIR/TASK is fairseq-train's --teacher-cache; the "
        "first runs write it, later runs read it (default: no cache)",
    )
    inputs.add_argument(
        "--pretrained",
        type=Path,
        metavar="PATH",
        help="pre-trained model from which missing teachers are fine-tuned, in OUT/teachers: a checkpoint, or a folder "
        "with checkpoint_best.pt or model.pt (default: the only model in models/)",
    )
    inputs.add_argument(
        "--glue-dir",
        type=Path,
        metavar="DIR",
        help="raw files from which missing data is made, with the vocabulary of --pretrained (default: glue)",
    )
    inputs.add_argument(
        "--max-positions",
        type=positive,
        metavar="N",
        help="maximum tokens of an input: new data is truncated, longer data is refused (default: 512 for new data)",
    )
    inputs.add_argument("--out", type=Path, metavar="DIR", help="parent folder of groups (default: runs)")
    inputs.add_argument("--group", metavar="NAME", help="this grid's folder in OUT (default: default)")

    training = parser.add_argument_group("training (schedules: the published ones of each task, scaled)")
    training.add_argument(
        "--epochs",
        type=positive,
        metavar="N",
        help="epochs of a run (default: 10)",
    )
    training.add_argument(
        "--stage1-epochs", type=positive, metavar="N", help="epochs of a first stage (default: as --epochs)"
    )
    training.add_argument(
        "--stage2-from",
        choices=tuple(STAGE2_FROM),
        help="checkpoint of the first stage that the second starts from: best (lowest dev loss), or last, as in the code of "
        "Wang et al. (default: best)",
    )
    training.add_argument(
        "--teacher-epochs", type=positive, metavar="N", help="epochs of a new teacher (default: 10)"
    )
    training.add_argument(
        "--teacher-batch-size",
        type=positive,
        metavar="N",
        help="sentences per batch of a new teacher (default: the task's published one, 16 or 32)",
    )
    training.add_argument(
        "--teacher-lr",
        type=rate,
        metavar="LR",
        help="highest learning rate of a new teacher (default: the task's published one, 1e-5 or 2e-5)",
    )

    how = parser.add_argument_group("execution")
    how.add_argument(
        "--jobs",
        type=positive,
        metavar="N",
        help="runs at a time; more runs than GPUs share the GPUs (default: 1)",
    )
    how.add_argument(
        "--retries",
        type=count,
        metavar="N",
        help="how often a failed run is resumed from its last checkpoint (default: 1)",
    )
    how.add_argument(
        "--cpu",
        action="store_true",
        help="use no GPU (default: all GPUs, one for each run)",
    )
    how.add_argument("--dry-run", action="store_true", help="print the plan and every command, start nothing")
    how.add_argument(
        "--trainer", metavar="PROGRAM", help="the fairseq-train to call (default: the environment's)"
    )
    return parser
