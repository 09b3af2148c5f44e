"""Reads a checkpoint's weights and model config, never its task, and never unpickles code."""

import argparse
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Optional

from torch import Tensor

from ..data.metadata import class_names, dictionary_hash
from ..errors import CannotStart
from .shape import ModelShape, shape_of
from .torch_file import UnsafeFile, first_line, load_torch_file

FOREIGN = "is a Hugging Face model: convert it first (scripts/convert_hf.py import HF_FOLDER OUT)."
# In a folder: a run's best checkpoint, or a converted model.
NAMES_IN_FOLDER = ("checkpoint_best.pt", "model.pt")
USUAL_HEAD = "sentence_classification_head"
FUSED_PROJECTION = re.compile(r"^(.*\.self_attn\.)in_proj_(weight|bias)$")


@dataclass(frozen=True)
class Checkpoint:
    """Weights under today's names, what model they belong to, and where they came from.

    criterion  config of the criterion they were trained with, where the checkpoint tells
    run        all settings of that training by section (task, dataset, ...), where it tells
    class_names  names of the classes in the order of the logits; () for a regression, or if they are not known
    """

    path: Path
    config: Mapping[str, Any]
    weights: Mapping[str, Tensor]
    shape: ModelShape
    dictionary_hash: Optional[str]
    criterion: Optional[Mapping[str, Any]] = None
    run: Mapping[str, Any] = field(default_factory=dict)
    class_names: tuple[str, ...] = ()

    @property
    def words(self) -> int:
        """Rows of the embedding matrix."""
        return self.weights["encoder.sentence_encoder.embed_tokens.weight"].size(0)

    @property
    def has_lm_head(self) -> bool:
        """Whether it can predict words."""
        return "encoder.lm_head.dense.weight" in self.weights

    @property
    def head_name(self) -> str:
        """The name of the classification head it was trained with: as its settings say, or that of the only one."""
        named = (self.run.get("task") or self.config).get("classification_head_name") or USUAL_HEAD
        heads = {name.split(".")[1] for name in self.weights if name.startswith("classification_heads.")}
        return heads.pop() if len(heads) == 1 else named

    def head(self, name: str) -> dict[str, Tensor]:
        """The classification head called `name`, by full parameter name; empty without one."""
        prefix = f"classification_heads.{name}."
        return {key: value for key, value in self.weights.items() if key.startswith(prefix)}

    def classes(self, head: str) -> Optional[int]:
        """How many classes that head tells apart; None without it."""
        projection = self.weights.get(f"classification_heads.{head}.out_proj.weight")
        return None if projection is None else projection.size(0)


def checkpoint_path(given: str, flag: str) -> Path:
    """The checkpoint meant by a path to a file or to a folder that holds one."""
    path = Path(given)
    if path.is_file():
        if path.suffix == ".safetensors":
            raise CannotStart(f"{flag} {given} {FOREIGN}")
        return path

    if path.is_dir():
        for name in NAMES_IN_FOLDER:
            if (path / name).is_file():
                return path / name
        if (path / "config.json").is_file():
            raise CannotStart(f"{flag} {given} {FOREIGN}")
        raise CannotStart(
            f"{flag} {given} is a folder without {' or '.join(NAMES_IN_FOLDER)}: name the checkpoint itself."
        )
    raise CannotStart(f"{flag} {given} does not exist: give a checkpoint file, or a folder that holds one.")


def read_checkpoint(given: str, flag: str) -> Checkpoint:
    """Reads the checkpoint that `flag` names.

    given  a file, or a folder holding `checkpoint_best.pt` or `model.pt`
    flag   named in every error

    Raises CannotStart when it is missing, damaged, unsafe to load, or not RoBERTa-like.
    """
    path = checkpoint_path(given, flag)
    try:
        state = load_torch_file(path)
    except UnsafeFile as error:
        raise CannotStart(
            f"{flag} {path} holds objects that are not safe to load ({error}): "
            "take a checkpoint of tensors and settings alone."
        ) from None
    except (ValueError, OSError) as error:
        raise CannotStart(
            f"{flag} {path} cannot be read as a checkpoint ({first_line(error)}): "
            "it may be damaged or half-written; take another copy."
        ) from None

    config = model_config(state) if isinstance(state, dict) else None
    if config is None or not isinstance(state.get("model"), dict):
        raise CannotStart(
            f"{flag} {path} holds no fairseq model and model config: "
            "convert it first (scripts/convert_hf.py import)."
        )

    weights = today(judged_weights(state))
    try:
        shape = shape_of(config, weights)
    except (KeyError, ValueError) as error:
        raise CannotStart(
            f"{flag} {path} is not a RoBERTa or BERT encoder (it lacks {error}): take one that is."
        ) from None
    # Older versions of fairseq save some sections as namespaces.
    run = {name: _as_mapping(section) for name, section in (state.get("cfg") or {}).items()}
    criterion = run.get("criterion")
    checkpoint = Checkpoint(
        path,
        config,
        weights,
        shape,
        _hash_beside(path, config),
        criterion if isinstance(criterion, dict) else None,
        run,
    )
    return replace(checkpoint, class_names=_class_names(checkpoint))


def model_config(state: Mapping[str, Any]) -> Optional[dict[str, Any]]:
    """The model config as a plain dictionary: from `cfg.model`, or from the older `args`."""
    config = (state.get("cfg") or {}).get("model") or state.get("args")
    return _as_mapping(config)


def judged_weights(state: Mapping[str, Any]) -> dict[str, Tensor]:
    """The weights whose answers the run's validations judged.

    The student's own; or, of a run with `--sda-evaluate average`, the mean of the parameter sets that its
    criterion keeps (see `teachers/averaged.py`).
    """
    weights, judged = state["model"], (state.get("cfg") or {}).get("criterion")
    if not isinstance(judged, dict) or judged.get("sda_evaluate") != "average":
        return weights
    begin = "sda.past."
    kept = {key: sets for key, sets in (state.get("criterion") or {}).items() if key.startswith(begin)}
    return weights | {key.removeprefix(begin): sets.mean(dim=0) for key, sets in kept.items()}


def today(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same weights under today's names.

    Renames what the first RoBERTa release called a decoder, splits its fused query-key-value projections, and
    removes the `module.` that DataParallel puts before every name.
    """
    renamed = {}
    for name, value in weights.items():
        name = re.sub(r"^(module\.)+", "", name)
        name = re.sub(r"^decoder\.", "encoder.", name)
        name = name.replace(".emb_layer_norm.", ".layernorm_embedding.")
        if name.endswith(".version"):
            continue

        fused = FUSED_PROJECTION.match(name)
        if fused:
            for projection, part in zip("qkv", value.chunk(3), strict=True):
                renamed[f"{fused[1]}{projection}_proj.{fused[2]}"] = part
        else:
            renamed[name] = value
    return renamed


def _class_names(checkpoint: Checkpoint) -> tuple[str, ...]:
    """Return the class names that the checkpoint stores or, without them, those of its own training data.

    A checkpoint of fairseq's `sentence_prediction` stores only the path of its data; the names are read from
    there if the folder still exists.
    """
    classes = checkpoint.classes(checkpoint.head_name)
    if classes in (None, 1):
        return ()
    task = checkpoint.run.get("task") or checkpoint.config
    # Converted models of earlier versions store them in their task.
    stored = checkpoint.config.get("class_names") or task.get("labels")
    if stored:
        return tuple(stored)
    name, data = task.get("_name") or task.get("task"), task.get("data")
    if not data or name not in ("sentence_prediction", "sentence_prediction_kd"):
        return ()
    return class_names(Path(data), classes)


def _as_mapping(section: Any) -> Any:
    return dict(vars(section)) if isinstance(section, argparse.Namespace) else section


def _hash_beside(path: Path, config: Mapping[str, Any]) -> Optional[str]:
    if config.get("dictionary_hash"):
        return config["dictionary_hash"]
    dictionary = path.parent / "dict.txt"
    return dictionary_hash(dictionary) if dictionary.is_file() else None
