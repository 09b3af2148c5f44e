"""Reads the weights of a Hugging Face folder: one file or shards, in safetensors or PyTorch format."""

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ..errors import CannotStart
from ..models.torch_file import UnsafeFile, check_not_pointer, first_line, load_torch_file
from .hf_folder import read_object

SAFE, PICKLED = "model.safetensors", "pytorch_model.bin"


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

    raise CannotStart(
        f"{folder} has neither {SAFE} nor {PICKLED}, nor an index of shards (such as {SAFE}.index.json): give a folder with "
        "PyTorch weights.",
        doing="convert",
    )


def _read_shards(index: Path) -> dict[str, Tensor]:
    """Return the tensors of all files that the index names."""
    files = read_object(index).get("weight_map")
    if not isinstance(files, dict) or not all(isinstance(file, str) for file in files.values()):
        raise CannotStart(
            f"{index} has no weight_map with the file of each weight: get a new copy of it.", doing="convert"
        )
    # Only the file names, so that the index cannot name files outside the folder.
    shards = {Path(name).name: index.with_name(Path(name).name) for name in sorted(set(files.values()))}
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
    if absent := [name for name in files if name not in weights]:
        raise CannotStart(
            f"{index.with_name(files[absent[0]])} lacks {absent[0]}, which {index.name} expects there: get new copies of "
            "both.",
            doing="convert",
        )
    return weights


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

    if not isinstance(weights, dict) or not all(isinstance(value, Tensor) for value in weights.values()):
        raise CannotStart(f"{path} is not a plain state dict: use the model as {SAFE}.", doing="convert")
    return weights
