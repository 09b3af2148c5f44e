"""Tiny data, teachers and training commands, made by us, for tests that need a whole run."""

import hashlib
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from fairseq.data.indexed_dataset import MMapIndexedDatasetBuilder

from fairseq_kd.models.encoder import PAD
from fairseq_kd.models.shape import ModelShape

ROOT = Path(__file__).parent.parent
SYMBOLS = [f"w{number}" for number in range(60)]
WORDS = len(SYMBOLS) + 5
SHAPE = ModelShape(layers=4, width=16, ffn=32, heads=4, max_positions=40)
HEAD = "classification_heads.sentence_classification_head."


def write_data(
    folder: Path,
    sentences: Sequence[tuple[str, int]] = (("train", 64), ("valid", 40)),
    classes: int = 2,
    pairs: bool = True,
    regression: bool = False,
    pair_format: str = "roberta",
    seed: int = 0,
) -> Path:
    """Write binarized data whose labels depend on the words; return the folder."""
    rng = np.random.default_rng(seed)
    for name in ["input0", "input1"] if pairs else ["input0"]:
        (folder / name).mkdir(parents=True)
        (folder / name / "dict.txt").write_text("".join(f"{symbol} 1\n" for symbol in SYMBOLS))
    (folder / "label").mkdir()
    (folder / "label" / "dict.txt").write_text("".join(f"{label} 1\n" for label in range(classes)))

    for split, count in sentences:
        labels = rng.integers(classes, size=count)
        for name in ["input0", "input1"] if pairs else ["input0"]:
            rows = [
                np.append(rng.integers(4 + 20 * label, 24 + 20 * label, size=rng.integers(2, 14)), 2)
                for label in labels
            ]
            write_indexed(folder / name / split, rows)
        if split == "unlabelled":
            continue
        if regression:
            (folder / "label" / f"{split}.label").write_text("".join(f"{label / 2}\n" for label in labels))
        else:
            write_indexed(folder / "label" / split, [np.array([label + 4, 2]) for label in labels])

    labels = [] if regression else [str(label) for label in range(classes)]
    meta = {
        "format": 1,
        "task": "TINY",
        "pairs": pairs,
        "pair_format": pair_format,
        "max_positions": 40,
        "num_classes": len(labels) or 1,
        "regression": regression,
        "labels": labels,
        "metric": "pearson" if regression else "accuracy",
        "dictionary_hash": hashlib.sha256("\n".join(SYMBOLS).encode()).hexdigest(),
        "splits": {split: {"sentences": count} for split, count in sentences},
    }
    (folder / "meta.json").write_text(json.dumps(meta))
    return folder


def write_text(
    folder: Path, lines: Sequence[tuple[str, int]] = (("train", 120), ("valid", 60)), seed: int = 0
) -> Path:
    """Write binarized running text with predictable words, every second of which begins a word; return the folder."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    (folder / "dict.txt").write_text("".join(f"{symbol} 1\n" for symbol in SYMBOLS))
    (folder / "word_starts.txt").write_text("".join(f"{number % 2}\n" for number in range(len(SYMBOLS))))
    for split, count in lines:
        starts = rng.integers(4, 4 + len(SYMBOLS), size=count)
        rows = [
            np.append(4 + (start - 4 + np.arange(rng.integers(3, 12))) % len(SYMBOLS), 2) for start in starts
        ]
        write_indexed(folder / split, rows)
    return folder


def write_indexed(path: Path, rows: Sequence[np.ndarray]) -> None:
    """Write token rows in fairseq's memory-mapped format."""
    builder = MMapIndexedDatasetBuilder(f"{path}.bin", dtype=np.uint16)
    for row in rows:
        builder.add_item(torch.from_numpy(row))
    builder.finalize(f"{path}.idx")


def dictionary_of(symbols: Iterable[str]):
    """Return fairseq's dictionary of the symbols, with `<mask>` as its last entry."""
    from fairseq.data import Dictionary

    dictionary = Dictionary()
    for symbol in [*symbols, "<mask>"]:
        dictionary.add_symbol(symbol)
    return dictionary


def weights(
    shape: ModelShape,
    classes: int | None = 2,
    seed: int = 0,
    scale: float = 0.3,
    lm_head: bool = False,
    symbols: Iterable[str] = SYMBOLS,
) -> dict[str, torch.Tensor]:
    """Random weights under their names in a checkpoint."""
    from argparse import Namespace

    from fairseq_kd.models.roberta_student import RobertaStudent
    from fairseq_kd.teachers.live import NO_DROPOUT

    model = RobertaStudent(Namespace(**NO_DROPOUT), shape, dictionary_of(symbols), lm_head)
    if classes is not None:
        model.register_classification_head("sentence_classification_head", classes)

    generator = torch.Generator().manual_seed(seed)
    state = model.state_dict()
    for name, value in state.items():
        noise = torch.randn(value.shape, generator=generator) * scale
        state[name] = 1 + noise if "layer_norm" in name and name.endswith("weight") else noise
    words = state["encoder.sentence_encoder.embed_tokens.weight"]
    words[PAD] = 0
    if lm_head:
        state["encoder.lm_head.weight"] = words
    return state


def write_teacher(
    path: Path,
    shape: ModelShape = SHAPE,
    classes: int | None = 2,
    seed: int = 0,
    lm_head: bool = False,
    config: Mapping[str, object] | None = None,
    symbols: Iterable[str] = SYMBOLS,
    **sections: Mapping[str, object],
) -> Path:
    """Write a checkpoint with random weights; return its path.

    config    more settings of the model
    sections  other sections of the configuration of its training
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    model = {"_name": "roberta_student", **shape.config(), **(config or {})}
    state = weights(shape, classes, seed, lm_head=lm_head, symbols=symbols)
    torch.save({"args": None, "cfg": {"model": model, **sections}, "model": state}, path)
    return path


def train_command(data: Path, save_dir: Path, *flags: str, task: str = "sentence_prediction_kd") -> list[str]:
    """Return the command of a short `fairseq-train` run: fp32, no dropout, a batch of 8.

    flags  words, or several of them in one string that begins with a flag
    """
    given = [word for flag in flags for word in (flag.split() if flag.startswith("--") else [flag])]
    defaults = "--arch roberta_student --optimizer adamw_fused --lr 1e-3 --lr-scheduler fixed --batch-size 8"
    defaults += " --max-epoch 1 --log-interval 1 --dropout 0 --attention-dropout 0 --seed 1 --num-workers 0"
    words = defaults.split()
    for flag, value in zip(words[::2], words[1::2], strict=True):
        if flag not in given:
            given += [flag, value]
    places = ["--user-dir", str(ROOT / "fairseq_kd"), "--task", task, "--save-dir", str(save_dir)]
    return ["fairseq-train", str(data), *places, "--cpu", "--no-progress-bar", "--log-format", "json", *given]


def distil_command(data: Path, save_dir: Path, teacher: Path, method: str, *flags: str) -> list[str]:
    """Return a `train_command` of a student with layers 0 and 3 of the teacher."""
    given = ("--teacher", str(teacher), "--criterion", method, "--init-layers", "0,3", *flags)
    return train_command(data, save_dir, *given)


def logged(output: str, tag: str) -> list[dict[str, float]]:
    """Return the statistics that a run logged under a tag: train_inner, train, valid."""
    rows = []
    for line in output.splitlines():
        head, _, record = line.rpartition(f" | {tag} | ")
        if head and record.startswith("{"):
            rows.append({key: _number(value) for key, value in json.loads(record).items()})
    return rows


def _number(value: object) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return float("nan")


def train_here(command: Sequence[str]) -> list[tuple[str, dict[str, float]]]:
    """Run a `train_command` in this process; return the statistics it logged, (tag, values) each.

    Importing torch and fairseq takes longer than a tiny run, so most tests train this way.
    """
    import logging
    from unittest import mock

    import fairseq.utils
    from fairseq_cli import train

    rows = []

    class Capture(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            message = record.getMessage()
            if record.name in ("train_inner", "train", "valid", "valid1") and message.startswith("{"):
                values = json.loads(message)
                rows.append((record.name, {key: _number(value) for key, value in values.items()}))

    # The package is imported already.
    fairseq.utils.import_user_module.memo = {str(ROOT / "fairseq_kd")}

    capture = Capture()
    logging.getLogger().addHandler(capture)
    logging.getLogger().setLevel(logging.INFO)
    try:
        with mock.patch.object(sys, "argv", list(command)):
            train.cli_main()
    finally:
        logging.getLogger().removeHandler(capture)
    return rows


def build(
    data: Path,
    teacher: Path | None,
    criterion: str,
    layers: str = "0,3",
    task=(),
    model=(),
    task_name: str = "sentence_prediction_kd",
    **options,
):
    """Task, student and criterion as `fairseq-train` builds them."""
    from fairseq.dataclass.utils import merge_with_parent
    from fairseq.registry import REGISTRIES
    from fairseq.tasks import TASK_DATACLASS_REGISTRY, TASK_REGISTRY
    from omegaconf import OmegaConf

    import fairseq_kd  # noqa: F401
    from fairseq_kd.models.roberta_student import RobertaStudentConfig

    def config(dataclass, **values):
        return merge_with_parent(dataclass(), OmegaConf.create(values))

    torch.manual_seed(1)
    # What fairseq fills in from other sections of its configuration.
    formats = ("fp16", "bf16", "amp", "memory_efficient_fp16", "memory_efficient_bf16")
    resets = ("reset_optimizer", "reset_lr_scheduler")
    names = ("continue_once", "finetune_from_model", "optimizer", "lr_scheduler")
    task_config = {
        "data": str(data),
        "teacher": teacher and str(teacher),
        "seed": 1,
        "train_subset": "train",
        "best_checkpoint_metric": "loss",
        "maximize_best_checkpoint_metric": False,
        "tensorboard_logdir": None,
        "wandb_project": None,
        "cpu": True,
        **dict.fromkeys((*formats[:4], "fp16_no_flatten_grads"), False),
        "max_tokens": None,
        "max_tokens_valid": None,
        "update_freq": [1],
        **dict(task),
    }
    task_class, task_dataclass = TASK_REGISTRY[task_name], TASK_DATACLASS_REGISTRY[task_name]
    built = task_class.setup_task(config(task_dataclass, **task_config))
    model_config = {
        "_name": "roberta_student",
        "init_layers": layers,
        "dropout": 0.0,
        "attention_dropout": 0.0,
        "save_dir": "nowhere",
        "restore_file": "checkpoint_last.pt",
        "checkpoint_suffix": "",
        **dict.fromkeys((*formats, *resets), False),
        **dict.fromkeys(names),
        **dict(model),
    }
    student = built.build_model(config(RobertaStudentConfig, **model_config))
    dataclass = REGISTRIES["criterion"]["dataclass_registry"][criterion]
    if hasattr(dataclass, "amp"):
        options.setdefault("amp", False)
    return built, student, built.build_criterion(config(dataclass, _name=criterion, **options))


def pretraining(text: Path | str, teacher: Path | None, criterion: str, task=(), **options):
    """Task, student and criterion of masked words, in blocks of 24 tokens."""
    given = {"tokens_per_sample": 24, "sample_break_mode": "complete", **dict(task)}
    return build(text, teacher, criterion, task=given, task_name="masked_lm_kd", **options)


def batch(task, indices: Sequence[int], split: str = "valid"):
    """Return examples of a split as one batch."""
    if split not in task.datasets:
        task.load_dataset(split)
    dataset = task.dataset(split)
    return dataset.collater([dataset[index] for index in indices])
