"""Reads config.json of a Hugging Face folder, and writes Hugging Face folders and `model.pt`."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from ..data.metadata import dictionary_hash
from ..errors import CannotStart
from .huggingface import DROPOUT, Converted


def read_config(folder: Path) -> dict[str, Any]:
    """Return config.json of a Hugging Face folder. Raises CannotStart if it is missing or damaged."""
    path = folder / "config.json"
    if not path.is_file():
        raise CannotStart(
            f"{folder} has no config.json: give the folder of a Hugging Face model (config.json, model.safetensors, "
            "tokenizer files).",
            doing="convert",
        )
    return read_object(path)


def read_object(path: Path) -> dict[str, Any]:
    """Return the JSON object in a file. Raises CannotStart if the file is not a JSON object."""
    try:
        found = json.loads(path.read_bytes())
    except ValueError as error:
        raise CannotStart(
            f"{path} is not valid JSON ({error}): get a new copy of it.", doing="convert"
        ) from None
    if not isinstance(found, dict):
        raise CannotStart(f"{path} is JSON but not an object: get a new copy of it.", doing="convert")
    return found


def write_checkpoint(model: Converted, folder: Path) -> Path:
    """Write `model.pt` with the hash of the folder's dict.txt, and return its path."""
    config = {
        "_name": "roberta_student",
        **model.shape.config(),
        **DROPOUT,
        "dictionary_hash": dictionary_hash(folder / "dict.txt"),
        "class_names": list(model.labels),
    }
    state = {"args": None, "cfg": {"model": config}, "model": model.weights}
    path = folder / "model.pt"
    with path.open("wb") as file:  # with an open file, torch keeps the OSError of a failed write
        torch.save(state, file)
    return path


def write_model(folder: Path, config: Mapping[str, Any], weights: dict[str, Tensor]) -> None:
    """Write config.json and model.safetensors to an existing folder."""
    text = json.dumps(config, ensure_ascii=False, indent=2)
    (folder / "config.json").write_text(text + "\n", encoding="utf-8")
    # transformers requires the metadata that names the framework.
    (folder / "model.safetensors").write_bytes(save(weights, metadata={"format": "pt"}))
