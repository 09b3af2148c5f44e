"""Groups of all workers that speak from host memory, whatever the backend of training."""

import socket
import weakref
from datetime import timedelta
from typing import Any, Optional

import torch.distributed as dist

# Weak, as torch's own table keeps a group: one that outlived destroy_process_group would end its threads while the
# interpreter goes down, which aborts the process, and would be taken for that of a later init_process_group.
_made: "dict[Optional[timedelta], weakref.ref[dist.ProcessGroup]]" = {}


def host_group(timeout: Optional[timedelta] = None) -> dist.ProcessGroup:
    """The group, made at the first call, where each worker has to call this.

    timeout  how long a worker waits for the others before it gives up; None: torch's default
    """
    made = _made.get(timeout)
    group = made and made()
    if group is None:
        group = dist.new_group(backend="gloo", timeout=timeout)
        _made[timeout] = weakref.ref(group)
    return group


def of_all(value: Any, timeout: Optional[timedelta] = None) -> list:
    """The value of each worker, by rank; each of them has to call this."""
    found = [None] * dist.get_world_size()
    dist.all_gather_object(found, value, group=host_group(timeout))
    return found


def workers_here() -> int:
    """How many workers of the run are on this machine; each of them has to call this."""
    if not dist.is_initialized():
        return 1
    return of_all(socket.gethostname()).count(socket.gethostname())
