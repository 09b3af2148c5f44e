"""The settings of a grid: one dataclass, from which the flags of `experiments.py` and the keys of grid files follow.

A grid file (`--grid FILE`) is YAML whose keys are the names of the long flags:

    task: [mrpc, rte]
    method: [none, kd, att_kl_learn]
    init: [[0, 1, 2], [3, 4, 5]]
    epochs: 2
    cpu: true
    flags: {clip-norm: 1.0, task.autocast: bf16}

`flags` are the arguments after -- in a command line, see `overrides.py`.
"""

import argparse
import dataclasses
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from .arguments import count, names, positive, rate
from .datasets import FINETUNING_BATCH_SIZES, FINETUNING_RATES, PUBLISHED_EPOCHS, TASKS, task_name
from .files import read_yaml
from .methods import Methods
from .models import MODELS_FILE, STAGE2_FROM, Entry
from .overrides import Overrides

# Kinds of grid: students of methods, second stages of listed models, or the fine-tuning of listed models.
METHOD, PREDICTION, FINETUNING = EXPERIMENTS = "method_specific", "pred", "finetune"

# Where runs are trained.
LOCAL, SLURM = LAUNCHERS = "local", "slurm"

STAGES = {"one": "one", "two": "two", "one_stage": "one", "two_stage": "two", FINETUNING: FINETUNING}
INIT = re.compile(r"\d+(,\d+)*|all|random(:[1-9]\d*)?")
MAPPING = re.compile(r"skip|last|combine|combine-layers|pkd-skip|pkd-last|top\d+|\d+:\d+(,\d+:\d+)*")
MAPPINGS = (
    "skip, last, combine, combine-layers, pkd-skip, pkd-last, topX such as top10, or pairs such as 0:0,1:4"
)


def _list_of(read: Callable[[str], Any]) -> Callable[[Any], list]:
    """Return a function that reads a list, or text with commas; each value is returned once."""

    def read_list(given: Any) -> list:
        texts = [part for each in _as_list(given) for part in names(str(each))]
        return list(dict.fromkeys(map(read, texts)))

    return read_list


def _choice(among: Mapping[str, str]) -> Callable[[Any], str]:
    """Return a function that looks up a word."""

    def read_choice(given: Any) -> str:
        if given not in among:
            raise ValueError(f"{given!r} is unknown: choose among {', '.join(among)}")
        return among[given]

    return read_choice


def _inits(given: Any) -> list[str]:
    """Read layer lists: [0, 1, 2], or "0,1,2", or a list of such."""
    several = isinstance(given, list) and not all(type(layer) is int for layer in given)
    inits = []
    for each in given if several else [given]:
        text = ",".join(map(str, each)) if isinstance(each, list) else str(each)
        inits.append(text.replace(" ", ""))
        if not INIT.fullmatch(inits[-1]):
            raise ValueError(
                f"{each!r} is not a list of layers: give numbers from 0 such as 0,1,2, or all, random, random:3"
            )
    return list(dict.fromkeys(inits))


def _mappings(given: Any) -> list[str]:
    found = []
    for each in _as_list(given):
        if not isinstance(each, str):  # YAML reads 1:4 as a number
            raise ValueError(f"{each!r} is not text: put pairs such as 1:4 in quotes")
        parts = names(each)
        pairs = ",".join(part for part in parts if ":" in part)  # all pairs in one text are one mapping
        # Liu et al. write t_top10 for top10.
        found += [part.removeprefix("t_") for part in parts if ":" not in part] + ([pairs] if pairs else [])
    for mapping in found:
        if not MAPPING.fullmatch(mapping):
            raise ValueError(f"{mapping!r} is not a mapping: choose among {MAPPINGS}")
    return list(dict.fromkeys(found))


def _models(given: Any) -> list[str]:
    """Read models as NAME=PATH or PATH, from a list or from a mapping of names to paths."""
    words = [f"{name}={path}" for name, path in given.items()] if isinstance(given, dict) else _as_list(given)
    values = given.values() if isinstance(given, dict) else words
    if not words or not all(isinstance(value, str) for value in values):
        raise ValueError(f"{given!r} lists no paths: give a list of paths, or a mapping of names to paths")
    return words


def _as_list(given: Any) -> list:
    values = given if isinstance(given, list) else [given]
    if not values:
        raise ValueError("is an empty list: remove it, or give at least one value")
    return values


def option(
    default: Any,
    help: str,
    metavar: str = "",
    read: Callable[[Any], Any] | None = None,
    short: tuple[str, ...] = (),
    group: str = "",
) -> Any:
    """Declare a setting.

    metavar  of its value in --help
    read     converts the value in a command line or file; raises ValueError for an invalid one
    short    other names of the flag
    group    heading in --help above this and the following settings
    """
    metadata = {"help": help, "metavar": metavar or None, "read": read, "short": short, "group": group}
    if isinstance(default, list):
        return dataclasses.field(default_factory=lambda: list(default), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


@dataclass
class GridConfig:
    """All settings of a grid; each field is a flag, and a key of a grid file.

    An empty list stands for the published settings of a task or method, and None for a default that depends on others.
    """

    task: list[str] = option(
        [],
        f"{', '.join(TASKS)}, or the name of your own data (python -m preprocess.custom)",
        "A,B",
        _list_of(task_name),
        ("-t",),
        "grid: all combinations are trained (lists: a,b,c; flags may repeat)",
    )
    method: list[str] = option(
        [],
        "criterions of the plugin, listed below, or none for a student without a teacher",
        "A,B",
        _list_of(str),
        ("-m",),
    )
    init: list[str] = option(
        ["0,1,2"],
        "teacher layers that the student copies, from 0, or all; random:3 for 3 random layers, random for as many as "
        "the other students have (default: 0,1,2)",
        "LAYERS",
        _inits,
    )
    mapping: list[str] = option(
        [],
        f"teacher state that each student state learns from: {MAPPINGS} (default: the method's own, listed below)",
        "A,B",
        _mappings,
    )
    stage: list[str] = option(
        ["two"],
        "two: the method's own loss, then the logits; one: all losses at once; finetune: as -e finetune (default: two)",
        "A,B",
        _list_of(_choice(STAGES)),
        ("-s",),
    )
    batch_size: list[int] = option(
        [],
        f"sentences per batch of the students (default: the task's published one; with -e {FINETUNING} "
        f"{','.join(map(str, FINETUNING_BATCH_SIZES))})",
        "A,B",
        _list_of(positive),
    )
    lr: list[float] = option(
        [],
        "highest learning rates of the students (default: the task's published one; with -e "
        f"{FINETUNING} {','.join(f'{lr:g}' for lr in FINETUNING_RATES)})",
        "A,B",
        _list_of(rate),
    )
    seeds: list[int] = option([1, 2, 3, 4], "random seeds (default: 1,2,3,4)", "A,B", _list_of(positive))

    experiment: str = option(
        METHOD,
        f"{METHOD}: students of the methods; {PREDICTION}: second stages that start from the listed models; "
        f"{FINETUNING}: those models trained on the labels, without a teacher (default: {METHOD})",
        f"{{{','.join(EXPERIMENTS)}}}",
        _choice({kind: kind for kind in EXPERIMENTS}),
        ("-e",),
        "your own models, instead of methods",
    )
    models: list[str] = option(
        [],
        "[NAME=]PATH[@LAYERS]: a checkpoint or run directory, and its name in tables; {task} in a path stands for "
        "the task's name; @1,3,5 copies only these layers; @random:3 copies none, for an untrained student with 3 layers of "
        "the model's width",
        "MODEL",
        _models,
    )
    pass_dic: Optional[Path] = option(
        None,
        f"file with more models, in JSON or YAML: {MODELS_FILE}; with -e {PREDICTION} the model of a run is used only for "
        "its own task, and --method selects entries by name",
        "FILE",
        short=("--pass_dic",),
    )

    data: Path = option(
        Path("data"), "folder with <TASK>-bin (default: data)", "DIR", group="inputs and outputs"
    )
    teacher: Optional[str] = option(
        None,
        "fine-tuned teacher: a checkpoint, or a folder with checkpoint_best.pt or model.pt; {task} stands for "
        "the task's name (default: teachers/{task}, or a new one fine-tuned from --pretrained)",
        "PATH",
    )
    teacher_cache: Optional[Path] = option(
        None,
        "parent folder of the teacher caches, which all runs share: DIR/TASK is fairseq-train's --teacher-cache; the "
        "first runs write it, later runs read it (default: no cache)",
        "DIR",
    )
    pretrained: Optional[Path] = option(
        None,
        "pre-trained model from which missing teachers are fine-tuned, in OUT/teachers: a checkpoint, or a folder "
        "with checkpoint_best.pt or model.pt (default: the only model in models/)",
        "PATH",
    )
    glue_dir: Path = option(
        Path("glue"),
        "raw files from which missing data is made, with the vocabulary of --pretrained (default: glue)",
        "DIR",
    )
    unlabelled_subset: Optional[str] = option(
        None,
        "splits without labels, comma-separated, that methods with a teacher learn from, in addition to the training set "
        "(default: none; `preprocess.glue --unlabelled` makes the split unlabelled)",
        "NAMES",
    )
    max_positions: Optional[int] = option(
        None,
        "maximum tokens of an input: new data is truncated, longer data is an error (default for new data: the positions of "
        "the models, at most 512)",
        "N",
        positive,
    )
    out: Path = option(Path("runs"), "parent folder of groups (default: runs)", "DIR")
    group: str = option("default", "this grid's folder in OUT (default: default)", "NAME")

    epochs: int = option(
        PUBLISHED_EPOCHS,
        "epochs of a run (default: 10)",
        "N",
        positive,
        group="training (schedules: the published ones of each task, scaled)",
    )
    stage1_epochs: Optional[int] = option(
        None, "epochs of a first stage (default: as --epochs)", "N", positive
    )
    stage2_from: str = option(
        "best",
        "checkpoint of the first stage that the second starts from: best (lowest dev loss), or last, as in the code of "
        "Wang et al. (default: best)",
        f"{{{','.join(STAGE2_FROM)}}}",
        _choice({name: name for name in STAGE2_FROM}),
    )
    teacher_epochs: int = option(PUBLISHED_EPOCHS, "epochs of a new teacher (default: 10)", "N", positive)
    teacher_batch_size: Optional[int] = option(
        None,
        "sentences per batch of a new teacher (default: the task's published one, 16 or 32)",
        "N",
        positive,
    )
    teacher_lr: Optional[float] = option(
        None,
        "highest learning rate of a new teacher (default: the task's published one, 1e-5 or 2e-5)",
        "LR",
        rate,
    )

    jobs: int = option(
        1,
        f"runs at a time; more runs than GPUs share the GPUs; with --launcher {SLURM}, jobs of each array at a time; "
        f"arrays of first and second stages may overlap (default: 1, with {SLURM} all)",
        "N",
        positive,
        group="execution",
    )
    retries: int = option(
        1, "how often a failed run is resumed from its last checkpoint (default: 1)", "N", count
    )
    cpu: bool = option(False, "use no GPU (default: all GPUs, one for each run)")
    gpus_per_run: int = option(
        1,
        "GPUs of a run, each with one process of torchrun; each batch is divided among them (default: 1)",
        "N",
        positive,
    )
    tensorboard_logdir: Optional[Path] = option(
        None, "parent folder of TensorBoard logs: DIR/GROUP/RUN (default: none)", "DIR"
    )
    wandb_project: Optional[str] = option(
        None, "project of Weights & Biases; a run has the name of its folder (default: none)", "NAME"
    )
    trainer: Optional[str] = option(None, "the fairseq-train to call (default: the environment's)", "PROGRAM")
    launcher: str = option(
        LOCAL,
        f"{LOCAL}: train on this machine; {SLURM}: submit a Slurm job for each run, and return (default: {LOCAL})",
        f"{{{','.join(LAUNCHERS)}}}",
        _choice({name: name for name in LAUNCHERS}),
    )
    slurm: str = option(
        "",
        "options of sbatch for each job, such as partition=gpu,time=4:00:00,gres=gpu:1,account=me; time is required; a "
        "job that reaches it is requeued and resumes",
        "KEY=VALUE,...",
    )

    @property
    def folder(self) -> Path:
        """The folder of the group."""
        return self.out / self.group

    @property
    def needs_teacher(self) -> bool:
        """Whether its runs are initialised from a teacher, or learn from it."""
        return self.experiment != FINETUNING


@dataclass(frozen=True)
class Grid:
    """A grid: its settings, and what they refer to.

    overrides  the user's flags for fairseq-train
    models     listed models, which replace methods, inits, mappings and stages
    methods    all methods of the plugin
    given      names of the settings in the command line or the grid file
    """

    config: GridConfig
    methods: Methods
    overrides: Overrides = dataclasses.field(default_factory=dict)
    models: tuple[Entry, ...] = ()
    given: frozenset[str] = frozenset()


OPTIONS = {field.name: field for field in dataclasses.fields(GridConfig)}


def read_grid_file(path: Path) -> tuple[dict[str, Any], Any]:
    """Return the settings in a grid file, and its `flags`; raise ValueError if it is not a mapping in YAML."""
    content = read_yaml(path, "--grid")
    if not isinstance(content, dict):
        raise ValueError(f"--grid {path} contains no keys: write lines such as `task: mrpc`")
    settings = {str(key): value for key, value in content.items()}
    return settings, settings.pop("flags", {})


def merge(config: DictConfig, settings: Mapping[str, Any], source: str) -> set[str]:
    """Merge settings into a config, and return their names; raise ValueError that names source, key and value.

    source  text before the key in messages: `--` for flags, `--grid FILE: ` for a file
    """
    merged = set()
    for key, value in settings.items():
        name = key.replace("-", "_")
        flag = key if source != "--" else key.replace("_", "-")
        if name not in OPTIONS:
            raise ValueError(f"{source}{flag} is not a setting of a grid (--help shows all)")
        try:
            read = OPTIONS[name].metadata["read"]
            config[name] = value if read is None else read(value)
        except (argparse.ArgumentTypeError, OmegaConfBaseException, ValueError) as error:
            raise ValueError(f"{source}{flag}: {str(error).splitlines()[0]}") from None
        merged.add(name)
    return merged
