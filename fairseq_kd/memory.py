"""Memory of the current process: how the C library allocates it, and its peak."""

import ctypes
import os
import sys
from functools import cache

import torch

GIB = 1 << 30

# Options of glibc's mallopt, and of Linux' madvise.
M_TRIM_THRESHOLD, M_MMAP_MAX, MADV_HUGEPAGE = -1, -4, 14
NEVER = -1
HUGE_PAGE = 2 << 20

try:
    import resource
except ImportError:  # not a Unix
    resource = None


@cache
def keep_freed_memory() -> bool:
    """Let the C library keep freed memory for later tensors, in huge pages, and return whether it does.

    Each training step frees large tensors and allocates them again. By default, the C library returns them to the system,
    which clears every page of the next allocation: on a CPU, that takes a third of a step. The process keeps its peak of
    memory. Does nothing on GPUs, whose tensors torch keeps itself, and outside Linux with glibc.
    """
    if torch.cuda.is_available() or not sys.platform.startswith("linux"):
        return False
    library = ctypes.CDLL(None)
    if not all(hasattr(library, name) for name in ("mallopt", "madvise", "gnu_get_libc_version")):
        return False
    kept = library.mallopt(M_TRIM_THRESHOLD, NEVER) and library.mallopt(M_MMAP_MAX, 0)

    # Address space of the heap for half of the memory is marked for huge pages. It takes memory when tensors use it.
    half = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    library.malloc.restype, library.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    library.free.argtypes = [ctypes.c_void_p]
    library.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    addresses = [library.malloc(GIB) for _ in range(half // GIB if kept else 0)]
    for address in filter(None, addresses):
        first = -(-address // HUGE_PAGE) * HUGE_PAGE
        library.madvise(first, address + GIB - first, MADV_HUGEPAGE)
    for address in filter(None, addresses):
        library.free(address)
    return bool(kept)


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
