"""Memory of the current process: how the C library allocates it, and its peak."""

import ctypes
import sys

import torch

GIB = 1 << 30

# Options of glibc's mallopt.
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
NEVER = -1

try:
    import resource
except ImportError:  # not a Unix
    resource = None


def keep_freed_memory() -> bool:
    """Let the C library keep freed memory for later tensors, and return whether it does.

    Each training step frees large tensors and allocates them again. By default, the C library returns them to the system,
    which clears every page of the next allocation: on a CPU, that takes a seventh of a step. The process keeps its peak of
    memory. Does nothing on GPUs, whose tensors torch keeps itself, and outside Linux with glibc.
    """
    if torch.cuda.is_available() or not sys.platform.startswith("linux"):
        return False
    library = ctypes.CDLL(None)
    if not hasattr(library, "mallopt") or not hasattr(library, "gnu_get_libc_version"):
        return False
    return bool(library.mallopt(M_TRIM_THRESHOLD, NEVER) and library.mallopt(M_MMAP_MAX, 0))


def peak_memory(device: torch.device) -> float | None:
    """Return the peak memory of this process in GiB: of `device` if it is a GPU, else of the host.

    GPU   peak memory of tensors since the last reset; fairseq resets it after every update
    host  largest resident set so far; None if the system does not provide it
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / GIB
    if resource is None:
        return None
    unit = 1 if sys.platform == "darwin" else 1024  # bytes on macOS, KiB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / GIB
