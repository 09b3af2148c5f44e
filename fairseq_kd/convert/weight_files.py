"""Reads the weights of a Hugging Face folder: one file or shards, in safetensors or PyTorch format."""

from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ..errors import CannotStart
from ..models.torch_file import UnsafeFile, check_not_pointer, first_line, load_torch_file
from .hf_folder import read_object

SAFE, PICKLED = "model.safetensors", "pytorch_model.bin"
OTHER_FRAMEWORKS = {
    "tf_model.h5": "TensorFlow",
    "flax_model.msgpack": "Flax",
    "model.ckpt.index": "TensorFlow",
    "bert_model.ckpt.index": "TensorFlow",
    "model.onnx": "ONNX",
    "rust_model.ot": "Rust",
}


def read_weights(folder: Path) -> dict[str, Tensor]:
    """Return the state dict from model.safetensors, else from pytorch_model.bin; each may have shards.

    Raises CannotStart if a file is missing, damaged or unsafe to load.
    """
    for name in (SAFE, PICKLED):
        path, index = folder / name, folder / f"{name}.index.json"
        if path.is_file():
            return _read_file(path)
        if index.is_file():
            return _read_shards(index)

    wanted = f"{SAFE} nor {PICKLED}"
    for name, framework in OTHER_FRAMEWORKS.items():
        if (folder / name).is_file():
            raise CannotStart(
                f"{folder} has neither {wanted}, only weights of {framework} ({name}): use the PyTorch weights.",
                doing="convert",
            )
    raise CannotStart(
        f"{folder} has neither {wanted}, nor an index of shards (such as {SAFE}.index.json): give a folder with the "
        "weights.",
        doing="convert",
    )


def _read_shards(index: Path) -> dict[str, Tensor]:
    """Return the tensors of all files that the index names."""
    files = read_object(index).get("weight_map")
    if not isinstance(files, dict) or not files or not all(_is_file_name(file) for file in files.values()):
        raise CannotStart(
            f"{index} has no weight_map with the file of each weight: get a new copy of it.",
            doing="convert",
        )

    shards = {name: index.with_name(name) for name in sorted(set(files.values()))}
    missing = [name for name, path in shards.items() if not path.is_file()]
    if missing:
        raise CannotStart(
            f"{index.parent} lacks {', '.join(missing)}, {len(missing)} of the {len(shards)} files that {index.name} names: "
            "download the missing files.",
            doing="convert",
        )

    weights = {}
    for path in shards.values():
        weights.update(_read_file(path))
    absent = [name for name in files if name not in weights]
    if absent:
        raise CannotStart(
            f"{index.with_name(files[absent[0]])} does not have {absent[0]}, which {index.name} expects there: get new "
            "copies of both.",
            doing="convert",
        )
    return weights


def _is_file_name(name: Any) -> bool:
    """Return whether this is a file name without a folder."""
    return isinstance(name, str) and name == Path(name).name


def _read_file(path: Path) -> dict[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            check_not_pointer(path)
            return load_file(path)
        weights = load_torch_file(path)
    except UnsafeFile as error:
        raise CannotStart(
            f"{path} has objects other than tensors ({error}), which are unsafe to load: use the model as {SAFE}.",
            doing="convert",
        ) from None
    except (SafetensorError, ValueError) as error:
        raise CannotStart(
            f"{path} cannot be read ({first_line(error)}): it may be damaged; get a new copy.",
            doing="convert",
        ) from None

    others = (
        [name for name, value in weights.items() if not isinstance(value, Tensor)]
        if isinstance(weights, dict)
        else []
    )
    if others or not isinstance(weights, dict):
        what = f"{others[0]!r} in addition to tensors" if others else f"a {type(weights).__name__}"
        raise CannotStart(
            f"{path} has {what}, so it is not a plain state dict: use the model as {SAFE}.",
            doing="convert",
        )
    return weights
