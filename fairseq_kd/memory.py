"""Peak memory of the current process."""

import sys

import torch

GIB = 1 << 30

try:
    import resource
except ImportError:  # not a Unix
    resource = None


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
