"""Wraps functions of fairseq's modules and classes."""

import functools
from collections.abc import Callable
from typing import Any


def wrap(owner: Any, name: str) -> Callable[[Callable], Callable]:
    """Return a decorator: its function replaces `owner.name`, and receives the original as its first argument."""

    def decorate(function: Callable) -> Callable:
        original = getattr(owner, name)

        @functools.wraps(original)
        def replacement(*args, **kwargs):
            return function(original, *args, **kwargs)

        setattr(owner, name, replacement)
        return replacement

    return decorate


def is_ours(task: Any) -> bool:
    """Return whether a task is one of fairseq_kd, in which fairseq's dummy batches have no weight."""
    return not getattr(task, "dummy_batches_count", True)
