"""Reads and writes Hugging Face model folders, and writes a teacher's `model.pt`; no code in a file is ever run."""

import json
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from ..data.metadata import dictionary_hash
from ..errors import CannotStart
from .huggingface import Converted

DROPOUT = {
    "dropout": 0.1,
    "attention_dropout": 0.1,
    "activation_dropout": 0.0,
    "pooler_dropout": 0.0,
}


def read_config(folder: Path) -> dict[str, Any]:
    """config.json of a Hugging Face folder."""
    path = folder / "config.json"
    if not path.is_file():
        raise CannotStart(
            f"{folder} has no config.json: give the folder of a Hugging Face model (config.json, model.safetensors, "
            "tokenizer files).",
            doing="convert",
        )
    try:
        config = json.loads(path.read_bytes())
    except ValueError as error:
        raise CannotStart(
            f"{path} is not valid JSON ({error}): take a fresh copy of it.", doing="convert"
        ) from None
    if not isinstance(config, dict):
        raise CannotStart(f"{path} is JSON but not an object: take a fresh copy of it.", doing="convert")
    return config


def read_weights(folder: Path) -> dict[str, Tensor]:
    """The state dict from model.safetensors or, where there is none, pytorch_model.bin."""
    safe, pickled = folder / "model.safetensors", folder / "pytorch_model.bin"
    path = safe if safe.is_file() else pickled
    if not path.is_file():
        raise CannotStart(
            f"{folder} has neither {safe.name} nor {pickled.name}: give a folder that holds the weights in one file.",
            doing="convert",
        )

    try:
        if path == safe:
            return load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise CannotStart(
            f"{path} holds more than tensors, which is not safe to load: take the model as {safe.name}.",
            doing="convert",
        ) from None
    except (SafetensorError, RuntimeError, EOFError, ValueError) as error:
        raise CannotStart(
            f"{path} cannot be read ({str(error).splitlines()[0][:200]}): it may be damaged; take another copy.",
            doing="convert",
        ) from None


def write_checkpoint(model: Converted, folder: Path) -> Path:
    """Writes `model.pt` beside the folder's dict.txt, whose hash it remembers."""
    config = {
        "_name": "roberta_student",
        **model.shape.config(),
        **DROPOUT,
        "dictionary_hash": dictionary_hash(folder / "dict.txt"),
    }
    state = {
        "args": None,
        "cfg": {"model": config, "task": {"labels": list(model.labels)}},
        "model": model.weights,
    }
    path = folder / "model.pt"
    with path.open("wb") as file:  # given a file, torch leaves the system's own error where it cannot write
        torch.save(state, file)
    return path


def write_model(folder: Path, config: Mapping[str, Any], weights: dict[str, Tensor]) -> None:
    """Writes config.json and model.safetensors into a Hugging Face folder, which exists."""
    text = json.dumps(config, ensure_ascii=False, indent=2)
    (folder / "config.json").write_text(text + "\n", encoding="utf-8")
    # transformers wants to be told that the file is torch's.
    (folder / "model.safetensors").write_bytes(save(weights, metadata={"format": "pt"}))
