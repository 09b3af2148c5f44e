"""Ends the worker processes of fairseq's data loaders (`--num-workers`) as soon as nobody reads from them.

fairseq drops a loader whose workers still wait for work, and leaves the rest to the garbage collector. That
disconnects the queues before torch can tell the workers to end, so torch waits five seconds for each of them. If
training stops in mid-epoch, a thread still reads from the workers while the process exits, and they print tracebacks.
"""

import functools
import queue
import time
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from threading import Event, Thread
from types import ModuleType
from typing import Any

# How long to wait for a batch that is being made when training stops.
SECONDS_TO_STOP = 10.0

# The threads that read from loaders, and the loaders whose workers serve several epochs.
_readers: set[Thread] = set()
_reused: weakref.WeakSet = weakref.WeakSet()


@contextmanager
def end_workers_with_epoch(module: ModuleType) -> Iterator[None]:
    """Shuts a loader down when its epoch was read, unless fairseq reuses it for the next epoch."""
    yield
    module.BackgroundConsumer = _reader(module.BackgroundConsumer)
    for cls in (module.EpochBatchIterator, module.GroupedEpochBatchIterator):
        cls._get_iterator_for_epoch = _buffered(cls._get_iterator_for_epoch)


@contextmanager
def stop_early_readers(module: ModuleType) -> Iterator[None]:
    """Stops the reading threads that a function of a command started, also if it returns in mid-epoch or raises."""
    yield
    for name in ("train", "validate") if hasattr(module, "train") else ("main",):
        setattr(module, name, _stopping(getattr(module, name)))


@contextmanager
def reuse_only_cached(module: ModuleType) -> Iterator[None]:
    """Marks a loader as reused only if the task keeps its epoch iterator; fairseq makes a new one otherwise."""
    yield
    get_batch_iterator = module.FairseqTask.get_batch_iterator

    @functools.wraps(get_batch_iterator)
    def get(self, *args, **kwargs):
        iterator = get_batch_iterator(self, *args, **kwargs)
        if not any(iterator is cached for cached in self.dataset_to_epoch_iter.values()):
            iterator.reuse_dataloader = False
        return iterator

    module.FairseqTask.get_batch_iterator = get


def _stopping(function: Callable) -> Callable:
    @functools.wraps(function)
    def call(*args, **kwargs):
        before = set(_readers)
        try:
            return function(*args, **kwargs)
        finally:
            for reader in _readers - before:
                reader.stop()

    return call


def _buffered(get_iterator: Callable) -> Callable:
    """Reads by a thread even with `--data-buffer-size 0`, because the thread ends the workers."""

    @functools.wraps(get_iterator)
    def get(self, *args, **kwargs):
        if self.num_workers > 0:
            self.buffer_size = max(self.buffer_size, 1)
        iterator = get_iterator(self, *args, **kwargs)
        if self.reuse_dataloader and self.dataloader is not None:
            _reused.add(self.dataloader)
        return iterator

    return get


def _reader(consumer: type[Thread]) -> type[Thread]:
    class BackgroundConsumer(consumer):
        """Shuts its loader down at the end of the epoch, or after the current batch if `stop` is called."""

        def __init__(self, buffer: queue.Queue, source: Iterable, *args) -> None:
            self.abandoned = Event()
            self.loader = source
            super().__init__(buffer, _until(self.abandoned, source), *args)

        def start(self) -> None:
            _readers.add(self)
            super().start()

        def run(self) -> None:
            try:
                super().run()
                self._source.close()
                if self.loader not in _reused:
                    _shut_down(self.loader)
            finally:
                _readers.discard(self)

        def stop(self) -> None:
            self.abandoned.set()
            deadline = time.monotonic() + SECONDS_TO_STOP
            while self.is_alive() and time.monotonic() < deadline:
                # The thread may be waiting for room in its buffer.
                with suppress(queue.Empty):
                    self._queue.get(timeout=0.01)

    return BackgroundConsumer


def _until(abandoned: Event, source: Iterable) -> Iterator[Any]:
    for item in source:
        yield item
        if abandoned.is_set():
            return


def _shut_down(loader: Any) -> None:
    """Ends the workers of a torch DataLoader; other iterables have none."""
    iterator = getattr(loader, "_iterator", None)
    if iterator is not None:
        loader._iterator = None
        iterator._shutdown_workers()
