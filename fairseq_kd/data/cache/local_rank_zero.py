"""Work done once per machine, by its first worker."""

import socket
from collections.abc import Callable
from datetime import timedelta
from typing import Optional, TypeVar

import torch.distributed as dist

from ...process_groups import gather_objects

# Hashing and masking a corpus may take longer than torch's default of half an hour. A worker that ends is an error at
# once, before this timeout.
TIMEOUT = timedelta(days=7)

T = TypeVar("T")


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
