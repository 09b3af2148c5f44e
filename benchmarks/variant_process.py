"""Runs a variant of a benchmark in a process of its own, so that variants share neither allocator nor caches."""

import gc
import multiprocessing
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import torch

from benchmarks.record import synchronize


class VariantProcess:
    """A process that builds an object and calls its methods, one at a time.

    build   returns the object; can be pickled
    device  on which it computes
    """

    def __init__(self, build: Callable[[], Any], device: torch.device) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, other = context.Pipe()
        self.process = context.Process(target=_serve, args=(build, device, other), daemon=True)
        self.process.start()
        other.close()

    def call(self, method: str) -> Any:
        """Return the result of a method."""
        return self._ask("call", method)

    def time(self, method: str) -> float:
        """Return the seconds of a call: of the processor, or on a GPU of the clock."""
        return self._ask("time", method)

    def peak_memory(self, method: str) -> int:
        """Return the peak bytes of a call, above the memory before it."""
        return self._ask("memory", method)

    def stop(self) -> None:
        """End the process."""
        self.connection.close()
        self.process.join()

    def _ask(self, kind: str, method: str) -> Any:
        self.connection.send((kind, method))
        try:
            return self.connection.recv()
        except (EOFError, ConnectionResetError):
            raise SystemExit("a variant has failed; its error is above.") from None


def _serve(build: Callable[[], Any], device: torch.device, connection: Connection) -> None:
    variant = build()
    answers = {
        "call": lambda run: run(),
        "time": lambda run: _seconds(run, device),
        "memory": lambda run: _peak(run, device),
    }
    while True:
        try:
            kind, method = connection.recv()
        except (EOFError, ConnectionResetError):
            return
        connection.send(answers[kind](getattr(variant, method)))


def _seconds(run: Callable[[], Any], device: torch.device) -> float:
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    synchronize()
    began = clock()
    run()
    synchronize()
    return clock() - began


def _peak(run: Callable[[], Any], device: torch.device) -> int:
    gc.collect()
    if device.type == "cuda":
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        run()
        return torch.cuda.max_memory_allocated() - before
    with torch.profiler.profile(profile_memory=True) as profiled:
        run()
    return _largest_sum(profiled)


def _largest_sum(profiled: Any) -> int:
    """Return the largest sum of allocated and freed bytes so far, over all tensors of a profile."""
    total = largest = 0
    for event in sorted(profiled.profiler.kineto_results.events(), key=lambda event: event.start_ns()):
        if event.name() == "[memory]":
            total += event.nbytes()
            largest = max(largest, total)
    return largest
