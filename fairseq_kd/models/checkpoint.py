"""Reads weights and model config of a checkpoint, without its task and without unpickling code."""

import argparse
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Optional

from torch import Tensor

from ..data.metadata import class_names, dictionary_hash
from ..errors import CannotStart
from .shape import LM_HEAD, SENTENCE_ENCODER, ModelShape, shape_of
from .torch_file import UnsafeFile, first_line, load_torch_file

IS_HUGGING_FACE = "is a Hugging Face model: convert it first (scripts/convert_hf.py import HF_FOLDER OUT)."
# Names of a run's best checkpoint and of a converted model.
NAMES_IN_FOLDER = ("checkpoint_best.pt", "model.pt")
DEFAULT_HEAD = "sentence_classification_head"
FUSED_PROJECTION = re.compile(r"^(.*\.self_attn\.)in_proj_(weight|bias)$")


@dataclass(frozen=True)
class Checkpoint:
    """Weights with current parameter names, shape of the model, and settings of its training.

    criterion    config of the criterion in its training, if known
    run          all settings of its training: section (task, dataset, ...) -> settings, if known
    class_names  class names in the order of the logits; () for regression, or if unknown
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
        """Number of rows of the embedding matrix."""
        return self.weights[SENTENCE_ENCODER + "embed_tokens.weight"].size(0)

    @property
    def has_lm_head(self) -> bool:
        """Whether it has a masked-LM head."""
        return LM_HEAD + "dense.weight" in self.weights

    @property
    def head_name(self) -> str:
        """Name of its classification head: the only one, else the one in its settings."""
        named = (self.run.get("task") or self.config).get("classification_head_name") or DEFAULT_HEAD
        heads = {name.split(".")[1] for name in self.weights if name.startswith("classification_heads.")}
        return heads.pop() if len(heads) == 1 else named

    def head(self, name: str) -> dict[str, Tensor]:
        """Return the parameters of the classification head `name`, by full name; empty if there is none."""
        prefix = f"classification_heads.{name}."
        return {key: value for key, value in self.weights.items() if key.startswith(prefix)}

    def classes(self, head: str) -> Optional[int]:
        """Return the number of classes of a head; None if there is no such head."""
        projection = self.weights.get(f"classification_heads.{head}.out_proj.weight")
        return None if projection is None else projection.size(0)


def checkpoint_path(given: str, flag: str) -> Path:
    """Return the checkpoint file for a path to a file or folder. Raises CannotStart if there is none."""
    path = Path(given)
    if path.is_file():
        if path.suffix == ".safetensors":
            raise CannotStart(f"{flag} {given} {IS_HUGGING_FACE}")
        return path

    if path.is_dir():
        for name in NAMES_IN_FOLDER:
            if (path / name).is_file():
                return path / name
        if (path / "config.json").is_file():
            raise CannotStart(f"{flag} {given} {IS_HUGGING_FACE}")
        raise CannotStart(
            f"{flag} {given} is a folder without {' or '.join(NAMES_IN_FOLDER)}: name the checkpoint itself."
        )
    raise CannotStart(f"{flag} {given} does not exist: give a checkpoint file, or a folder that has one.")


def read_checkpoint(given: str, flag: str) -> Checkpoint:
    """Return the checkpoint that `flag` names.

    given  a file, or a folder with `checkpoint_best.pt` or `model.pt`
    flag   flag name in errors

    Raises CannotStart if it is missing, damaged, unsafe to load, or not a RoBERTa-like encoder.
    """
    path = checkpoint_path(given, flag)
    try:
        state = load_torch_file(path)
    except UnsafeFile as error:
        raise CannotStart(
            f"{flag} {path} has objects that are unsafe to load ({error}): "
            "use a checkpoint with only tensors and settings."
        ) from None
    except (ValueError, OSError) as error:
        raise CannotStart(
            f"{flag} {path} cannot be read as a checkpoint ({first_line(error)}): "
            "it may be damaged or incomplete; use another copy."
        ) from None

    config = model_config(state) if isinstance(state, dict) else None
    if config is None or not isinstance(state.get("model"), dict):
        raise CannotStart(
            f"{flag} {path} has no fairseq model and model config: "
            "convert it first (scripts/convert_hf.py import)."
        )

    weights = upgrade_state_dict(eval_state_dict(state))
    try:
        shape = shape_of(config, weights)
    except (KeyError, ValueError) as error:
        raise CannotStart(
            f"{flag} {path} is not a RoBERTa or BERT encoder (missing: {error}): use a checkpoint of one."
        ) from None
    # Older versions of fairseq save some sections as namespaces.
    run = {name: _as_mapping(section) for name, section in (state.get("cfg") or {}).items()}
    criterion = run.get("criterion")
    checkpoint = Checkpoint(
        path,
        config,
        weights,
        shape,
        _dictionary_hash(path, config),
        criterion if isinstance(criterion, dict) else None,
        run,
    )
    return replace(checkpoint, class_names=_class_names(checkpoint))


def model_config(state: Mapping[str, Any]) -> Optional[dict[str, Any]]:
    """Return the model config as a dictionary, from `cfg.model` or the older `args`."""
    config = (state.get("cfg") or {}).get("model") or state.get("args")
    return _as_mapping(config)


def eval_state_dict(state: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return the weights that the run evaluated in validation.

    These are the student's weights, or with `--sda-evaluate average` the mean of the parameter sets stored by the
    criterion (see `teachers/averaged.py`).
    """
    weights, criterion = state["model"], (state.get("cfg") or {}).get("criterion")
    if not isinstance(criterion, dict) or criterion.get("sda_evaluate") != "average":
        return weights
    prefix = "sda.past."
    past = {key: sets for key, sets in (state.get("criterion") or {}).items() if key.startswith(prefix)}
    return weights | {key.removeprefix(prefix): sets.mean(dim=0) for key, sets in past.items()}


def upgrade_state_dict(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights with current parameter names.

    Renames the module `decoder` of the first RoBERTa release, splits its fused query-key-value projections, and removes the
    prefix `module.` of DataParallel.
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
    """Return the class names in the checkpoint, else those of its training data.

    Checkpoints of fairseq's `sentence_prediction` only store the path of their data, which may no longer exist.
    """
    classes = checkpoint.classes(checkpoint.head_name)
    if classes in (None, 1):
        return ()
    task = checkpoint.run.get("task") or checkpoint.config
    # Models converted by earlier versions store the names in their task.
    stored = checkpoint.config.get("class_names") or task.get("labels")
    if stored:
        return tuple(stored)
    name, data = task.get("_name") or task.get("task"), task.get("data")
    if not data or name not in ("sentence_prediction", "sentence_prediction_kd"):
        return ()
    return class_names(Path(data), classes)


def _as_mapping(section: Any) -> Any:
    return dict(vars(section)) if isinstance(section, argparse.Namespace) else section


def _dictionary_hash(path: Path, config: Mapping[str, Any]) -> Optional[str]:
    if config.get("dictionary_hash"):
        return config["dictionary_hash"]
    dictionary = path.parent / "dict.txt"
    return dictionary_hash(dictionary) if dictionary.is_file() else None
