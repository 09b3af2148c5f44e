"""Reads what `torch.save` wrote, in any of its formats, and never unpickles code."""

import pickle
import re
import zipfile
from pathlib import Path
from typing import Any

import torch

# Formats of torch.save: an archive since torch 1.6, a pickle before.
BEGINNINGS = (b"PK\x03\x04", b"\x80")
LFS_POINTER = b"version https://git-lfs.github.com/"
OBJECT = re.compile(r"GLOBAL (\S+)")


class UnsafeFile(ValueError):
    """A file with objects that are neither tensors nor plain settings; its message names one of their classes."""


def load_torch_file(path: Path) -> Any:
    """Return the contents of `path`, its tensors on the CPU and mapped from the disk where the format allows it.

    Raises UnsafeFile where unpickling it could run code, ValueError with the reason where it cannot be read.
    """
    check_not_pointer(path)
    with path.open("rb") as file:
        if not file.read(4).startswith(BEGINNINGS):
            raise ValueError("it is not a file of torch.save")
    try:
        # fairseq_compat allows argparse.Namespace for the whole process, and nothing else.
        return torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except (OSError, MemoryError):
        raise
    except Exception as error:  # damaged bytes lead the unpickler to errors of many classes
        found = OBJECT.search(str(error)) if isinstance(error, pickle.UnpicklingError) else None
        if found:
            raise UnsafeFile(found[1]) from None
        raise ValueError(first_line(error)) from None


def check_not_pointer(path: Path) -> None:
    """Raise ValueError where git-lfs has not yet replaced its pointer by the file itself."""
    with path.open("rb") as file:
        if file.read(len(LFS_POINTER)) == LFS_POINTER:
            raise ValueError("it is a pointer of Git LFS, run git lfs pull")


def first_line(error: Exception) -> str:
    """Return the first line of an error's message, at most 200 characters, or the name of its class."""
    return (str(error).strip() or type(error).__name__).split("\n")[0][:200]
