"""Reads the config of a Hugging Face folder; writes such folders and a teacher's `model.pt`."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
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
        if (folder / "bert_config.json").is_file():  # as Google's releases call it
            raise CannotStart(
                f"{folder} has a bert_config.json but no config.json: copy it to config.json.",
                doing="convert",
            )
        raise CannotStart(
            f"{folder} has no config.json: give the folder of a Hugging Face model (config.json, model.safetensors, "
            "tokenizer files).",
            doing="convert",
        )
    return read_object(path)


def read_object(path: Path) -> dict[str, Any]:
    """Return the JSON object that a file holds; CannotStart where it holds anything else."""
    try:
        found = json.loads(path.read_bytes())
    except ValueError as error:
        raise CannotStart(
            f"{path} is not valid JSON ({error}): take a fresh copy of it.", doing="convert"
        ) from None
    if not isinstance(found, dict):
        raise CannotStart(f"{path} is JSON but not an object: take a fresh copy of it.", doing="convert")
    return found


def write_checkpoint(model: Converted, folder: Path) -> Path:
    """Writes `model.pt` beside the folder's dict.txt, whose hash it remembers."""
    config = {
        "_name": "roberta_student",
        **model.shape.config(),
        **DROPOUT,
        "dictionary_hash": dictionary_hash(folder / "dict.txt"),
        "class_names": list(model.labels),
    }
    state = {
        "args": None,
        "cfg": {"model": config},
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
