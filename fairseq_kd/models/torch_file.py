"""Reads files of `torch.save` in any of its formats, without unpickling code."""

import pickle
import re
import zipfile
from pathlib import Path
from typing import Any

import torch

# First bytes of torch.save's formats: a zip archive since torch 1.6, a pickle before.
FIRST_BYTES = (b"PK\x03\x04", b"\x80")
LFS_POINTER = b"version https://git-lfs.github.com/"
REFUSED_CLASS = re.compile(r"GLOBAL (\S+)")


class UnsafeFile(ValueError):
    """A file with objects other than tensors and plain settings; the message names one of their classes."""


def load_torch_file(path: Path) -> Any:
    """Return the contents of `path`, with tensors on the CPU, memory-mapped if the format allows it.

    Raises UnsafeFile if unpickling it could run code, and ValueError with the reason if it cannot be read.
    """
    check_not_pointer(path)
    with path.open("rb") as file:
        if not file.read(4).startswith(FIRST_BYTES):
            raise ValueError("it is not a file of torch.save")
    try:
        # fairseq_compat allows argparse.Namespace in the whole process, but no other class.
        return torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except (OSError, MemoryError):
        raise
    except Exception as error:  # damaged files raise many types of errors
        found = REFUSED_CLASS.search(str(error)) if isinstance(error, pickle.UnpicklingError) else None
        if found:
            raise UnsafeFile(found[1]) from None
        raise ValueError(first_line(error)) from None


def check_not_pointer(path: Path) -> None:
    """Raise ValueError if the file is a Git LFS pointer, whose content was not downloaded."""
    with path.open("rb") as file:
        if file.read(len(LFS_POINTER)) == LFS_POINTER:
            raise ValueError("it is a Git LFS pointer, run git lfs pull")


def first_line(error: Exception) -> str:
    """Return the first line of an error's message, at most 200 characters, or the name of its class."""
    return (str(error).strip() or type(error).__name__).split("\n")[0][:200]
