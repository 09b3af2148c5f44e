"""Communication of all workers from host memory (gloo groups), with any training backend; work done once per machine."""

import socket
import weakref
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Optional, TypeVar

import torch
import torch.distributed as dist

# Work of one worker, such as hashing and masking a corpus, may take longer than torch's default of half an hour. A worker
# that ends is an error at once, before this timeout.
TIMEOUT = timedelta(days=7)

T = TypeVar("T")

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


def run_on_local_rank_zero(work: Callable[[], T]) -> T:
    """Run `work` on the first worker of each machine, and return its result on all workers of that machine.

    Every worker must call this. The result is sent to the others, so it should be small. If `work` raises SystemExit on
    any machine, all workers raise SystemExit: the first of each machine with the message, the others with status 1.
    """
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return work()

    machines = gather_objects(socket.gethostname(), TIMEOUT)
    first = machines.index(socket.gethostname())
    is_first = first == dist.get_rank()
    outcomes = gather_objects(_outcome(work) if is_first else (None, None), TIMEOUT)
    message = next((message for message, _ in outcomes if message is not None), None)
    if message is not None:
        raise SystemExit(message if is_first else 1)
    return outcomes[first][1]


def _outcome(work: Callable[[], T]) -> tuple[Optional[str], Optional[T]]:
    """Return (message of SystemExit, None) or (None, result)."""
    try:
        return None, work()
    except SystemExit as ended:
        return str(ended), None
