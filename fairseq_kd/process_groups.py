"""gloo process groups of all workers, for communication from host memory with any training backend."""

import weakref
from datetime import timedelta
from typing import Any, Optional

import torch
import torch.distributed as dist

# Weak references, so that destroy_process_group frees the groups. A group that outlives it has two effects: it stops
# its threads while the interpreter exits, which aborts the process; a later init_process_group would reuse it.
_groups: "dict[Optional[timedelta], weakref.ref[dist.ProcessGroup]]" = {}


def host_group(timeout: Optional[timedelta] = None) -> dist.ProcessGroup:
    """Return the group for this timeout. Every worker must make the first call, which creates the group.

    timeout  time after which a worker stops waiting for the others, and fails (default: torch's default)
    """
    made = _groups.get(timeout)
    group = made and made()
    if group is None:
        group = dist.new_group(backend="gloo", timeout=timeout)
        _groups[timeout] = weakref.ref(group)
    return group


def gather_objects(value: Any, timeout: Optional[timedelta] = None) -> list:
    """Return the values of all workers, ordered by rank; every worker must call this."""
    found = [None] * dist.get_world_size()
    dist.all_gather_object(found, value, group=host_group(timeout))
    return found


def broadcast_from_rank0(value: float) -> float:
    """Return the value of rank 0; every worker must call this. Uses host memory, so no GPU waits."""
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return value
    shared = torch.tensor([value], dtype=torch.float64)
    dist.broadcast(shared, src=0, group=None if dist.get_backend() == "gloo" else host_group())
    return shared.item()
