"""How much memory a process has needed."""

import sys

import torch

GIB = 1 << 30

try:
    import resource
except ImportError:  # not a Unix
    resource = None


def peak_memory(device: torch.device) -> float | None:
    """Most memory this process has held at once, in GiB: of the GPU it trains on, else of the host.

    GPU   what tensors held, since fairseq last reset the count, which it does after every update
    host  the largest resident set so far; None where the system does not tell
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / GIB
    if resource is None:
        return None
    unit = 1 if sys.platform == "darwin" else 1024  # bytes on macOS, KiB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / GIB
