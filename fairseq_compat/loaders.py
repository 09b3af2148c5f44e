"""Ends the worker processes of fairseq's data loaders (`--num-workers`) as soon as nothing reads from them.

In fairseq, the garbage collector deletes a loader whose workers still wait. It closes the queues before torch can stop
the workers, so torch waits five seconds for each of them. If training stops within an epoch, a thread still
reads from the workers while the process exits, and they print tracebacks.
"""

import queue
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from threading import Event, Thread
from types import ModuleType
from typing import Any

from .wrap import wrap

# Maximum wait for the current batch when training stops.
SECONDS_TO_STOP = 10.0

# The threads that read from loaders.
_readers: set[Any] = set()


def end_workers_with_epoch(module: Any) -> None:
    """Shut a loader down at the end of its epoch; the next epoch has a new one.

    A loader that is kept for the next epoch also has a copy of the data set of its first one.
    """
    module.BackgroundConsumer = _reader(module.BackgroundConsumer)
    for cls in (module.EpochBatchIterator, module.GroupedEpochBatchIterator):

        @wrap(cls, "_get_iterator_for_epoch")
        def get(original, self, *args, **kwargs):
            self.reuse_dataloader = False
            # The reading thread ends the workers, so it is needed even with `--data-buffer-size 0`.
            if self.num_workers > 0:
                self.buffer_size = max(self.buffer_size, 1)
            return original(self, *args, **kwargs)


def stop_early_readers(module: ModuleType) -> None:
    """When a function of a command ends, stop its reading threads, also within an epoch or after an error."""
    for name in ("train", "validate") if hasattr(module, "train") else ("main",):

        @wrap(module, name)
        def stopping(original, *args, **kwargs):
            before = set(_readers)
            try:
                return original(*args, **kwargs)
            finally:
                for reader in _readers - before:
                    reader.stop()


def _reader(consumer: Any) -> type[Thread]:
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
                shut_down(self.loader)
            finally:
                _readers.discard(self)

        def stop(self) -> None:
            self.abandoned.set()
            deadline = time.monotonic() + SECONDS_TO_STOP
            while self.is_alive() and time.monotonic() < deadline:
                # The thread may be waiting for space in its buffer.
                with suppress(queue.Empty):
                    self._queue.get(timeout=0.01)

    return BackgroundConsumer


def _until(abandoned: Event, source: Iterable) -> Iterator[Any]:
    for item in source:
        yield item
        if abandoned.is_set():
            return


def shut_down(loader: Any) -> None:
    """End the workers of a torch DataLoader; other iterables have none."""
    iterator = getattr(loader, "_iterator", None)
    if iterator is not None:
        loader._iterator = None
        iterator._shutdown_workers()
