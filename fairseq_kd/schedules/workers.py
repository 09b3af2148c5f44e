"""What the first worker says holds for all."""

import functools

import torch
import torch.distributed as dist


def from_first(value: float) -> float:
    """The first worker's value, on every worker; each of them has to call this.

    Eight bytes from host to host: no GPU waits.
    """
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return value
    box = torch.tensor([value], dtype=torch.float64)
    dist.broadcast(box, src=0, group=_hosts())
    return box.item()


@functools.cache
def _hosts():
    """A group of all workers that speaks from host memory."""
    return dist.group.WORLD if dist.get_backend() == "gloo" else dist.new_group(backend="gloo")
