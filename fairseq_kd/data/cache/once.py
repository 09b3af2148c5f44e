"""What one worker of a machine does for all that run there."""

import socket
from collections.abc import Callable
from datetime import timedelta
from typing import Optional, TypeVar

import torch.distributed as dist

from ...process_groups import gather_objects

# Hashing a corpus and masking it may take longer than the half hour after which others give up by default. They hear at
# once of a worker that dies.
PATIENCE = timedelta(days=7)

T = TypeVar("T")


def once_a_machine(work: Callable[[], T]) -> T:
    """What `work` returns, which the first worker of each machine does, while the others wait; small, it is sent to them.

    Each worker has to call this. Where work ends with SystemExit, on whatever machine, all of them end: with its sentence
    the first of each machine, without a word the others.
    """
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return work()

    machines = gather_objects(socket.gethostname(), PATIENCE)
    first = machines.index(socket.gethostname())
    mine = first == dist.get_rank()
    done = gather_objects(_outcome(work) if mine else (None, None), PATIENCE)
    problem = next((problem for problem, _ in done if problem is not None), None)
    if problem is not None:
        raise SystemExit(problem if mine else 1)
    return done[first][1]


def _outcome(work: Callable[[], T]) -> tuple[Optional[str], Optional[T]]:
    """Why it ended, or else what it returned."""
    try:
        return None, work()
    except SystemExit as ended:
        return str(ended), None
