"""The position of training in an epoch: the set of rows that were trained."""

import logging
import math
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Optional

import numpy as np
import torch
from fairseq.data.data_utils import numpy_seed
from fairseq.data.iterators import EpochBatchIterator, ShardedIterator
from torch import Tensor

from ..errors import CannotStart

logger = logging.getLogger(__name__)

Batches = list[Sequence[int]]


@dataclass(frozen=True)
class _Start:
    """The position at which a run begins to read an epoch.

    batches     remaining batches of all workers
    iterations  number of batches that each worker has read before
    trained     mask of the rows that were trained, [N]; None for none
    before      mask of the rows that were trained in other batches than now, [N]; None for none
    """

    batches: Batches
    iterations: int = 0
    trained: Optional[np.ndarray] = None
    before: Optional[np.ndarray] = None


class ResumableEpochs(EpochBatchIterator):
    """fairseq's iterator over a training set; a resumed run may divide the rest of an epoch into other batches.

    fairseq saves how many batches each worker has read. With another batch size or number of workers, the same
    number means other rows. So the saved state also has:

    rows      size of the training set
    lengths   checksum of the lengths of all rows
    settings  flags that decide the data and the batches
    trained   within an epoch: mask of the rows that were trained, as packed bits
    before    mask of the rows that were trained in batches of other settings; missing if there are none
    """

    make_batches: Callable[[np.ndarray], Sequence[Sequence[int]]]
    settings: Mapping[str, Any]
    sharded: bool
    skip_remainder_batch: bool

    # The epoch in which the run was resumed, and the position.
    _resumed: tuple[int, Optional["_Start"]] = (0, None)

    @classmethod
    def of(
        cls,
        iterator: EpochBatchIterator,
        make_batches: Callable[[np.ndarray], Sequence[Sequence[int]]],
        settings: Mapping[str, Any],
        sharded: bool,
    ) -> "ResumableEpochs":
        """Change the class of an iterator to this one, because fairseq does not let a task choose it.

        make_batches  divides rows, in their order, into batches
        settings      flag -> value
        sharded       whether each epoch reads other data than the one before
        """
        iterator.__class__ = cls
        iterator.make_batches, iterator.settings = make_batches, settings
        iterator.sharded = sharded
        return iterator

    def ordered_batches(self, epoch: int, fix_batches_to_gpus: bool, shuffle: bool) -> Batches:
        """Return this worker's batches of an epoch; those before a resumed run's position are empty."""
        resumed, self._start = self._resumed
        if epoch != resumed:
            self._start = _Start(self._in_order(self.frozen_batches, epoch, shuffle))
        own = ShardedIterator(self._start.batches, self.num_shards, self.shard_id, fill_value=[])
        return [[]] * self._start.iterations + list(own)

    def state_dict(self) -> dict[str, Any]:
        """Return fairseq's state with the additional values of this class."""
        state = super().state_dict()
        state |= {"rows": len(self.dataset), "lengths": self._lengths, "settings": dict(self.settings)}
        if state["iterations_in_epoch"]:
            start = self._start
            read = start.batches[: (state["iterations_in_epoch"] - start.iterations) * self.num_shards]
            trained = np.zeros(len(self.dataset), bool) if start.trained is None else start.trained.copy()
            if read:
                trained[np.concatenate(read)] = True
            state["trained"] = _packed(trained)
            if start.before is not None:
                state["before"] = _packed(start.before)
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue at the saved position.

        If the trained rows are the first batches of the epoch, the other batches do not change. Otherwise the other rows
        are divided into new batches. Raises CannotStart if the training data is not that of the checkpoint.
        """
        if "rows" not in state:  # a checkpoint of an earlier version
            if state["iterations_in_epoch"]:
                logger.warning(
                    "the checkpoint lacks the trained rows: resume with the same batches and workers"
                )
            super().load_state_dict(state)
            return
        self.epoch, self._next_epoch_itr = state["epoch"], None
        self._check_data(state)
        if state["iterations_in_epoch"]:
            self._resume_within_epoch(state)
        if changes := self._changes(state):
            logger.info(f"resuming with {', '.join(changes)}; the learning rate schedule counts updates")

    def _get_iterator_for_epoch(self, *args: Any, **kwargs: Any) -> Any:
        """Return fairseq's iterator; with --skip-remainder-batch, without the last batch of the epoch.

        fairseq subtracts the batches before the position of a resumed run twice.
        """
        skip, self.skip_remainder_batch = self.skip_remainder_batch, False
        try:
            iterator = super()._get_iterator_for_epoch(*args, **kwargs)
        finally:
            self.skip_remainder_batch = skip
        if iterator is not None:
            iterator.from_position = True  # see fairseq_compat/resume.py
            if skip:
                iterator.take(len(iterator) - 1)
        return iterator

    def _resume_within_epoch(self, state: Mapping[str, Any]) -> None:
        trained = self._unpacked(state["trained"])
        before = self._unpacked(state["before"]) if "before" in state else None
        batches = self._in_order(self._batches_without(before), self.epoch, state["shuffle"])
        done = _count_trained_batches(batches, trained if before is None else trained & ~before)
        if done is None:
            before, done = trained, 0
            batches = self._in_order(self._batches_without(trained), self.epoch, state["shuffle"])
        left = batches[done:]
        if not left:
            raise CannotStart(
                f"--grouped-shuffling skips the rest of epoch {self.epoch}, which is less than a batch for each of "
                f"{self.num_shards} workers: resume with fewer workers, or without --grouped-shuffling.",
                doing="resume",
            )
        # Counted in this run's batches, so that the epoch ends at its usual number.
        iterations = max(len(self) - math.ceil(len(left) / self.num_shards), 0)
        self._resumed = self.epoch, _Start(left, iterations, trained, before)
        self._next_epoch_itr = self._get_iterator_for_epoch(self.epoch, state["shuffle"], offset=iterations)
        logger.info(f"resuming epoch {self.epoch}: {trained.sum()} of {len(trained)} training rows are done")

    def _in_order(self, batches: Iterable[Sequence[int]], epoch: int, shuffle: bool) -> Batches:
        """Return the batches of all workers in fairseq's order of the epoch."""
        batches = list(batches)
        if not shuffle:
            return batches
        with numpy_seed(self.seed + epoch):
            if not self.grouped_shuffling:
                np.random.shuffle(batches)  # noqa: NPY002 - fairseq's own order
                return batches
            whole = len(batches) - len(batches) % self.num_shards
            groups = [batches[first : first + self.num_shards] for first in range(0, whole, self.num_shards)]
            np.random.shuffle(groups)  # noqa: NPY002
            return [batch for group in groups for batch in group]

    def _batches_without(self, rows: Optional[np.ndarray]) -> Sequence[Sequence[int]]:
        """Return batches of all rows except these, a mask [N], before they are shuffled."""
        if rows is None:
            return self.frozen_batches
        order = np.concatenate(self.frozen_batches)
        left = order[~rows[order]]
        return self.make_batches(left) if len(left) else []

    @cached_property
    def _lengths(self) -> int:
        return zlib.crc32(np.ascontiguousarray(self.dataset.sizes, dtype=np.int64).data)

    def _same_rows(self, state: Mapping[str, Any]) -> bool:
        return (state["rows"], state["lengths"]) == (len(self.dataset), self._lengths)

    def _check_data(self, state: Mapping[str, Any]) -> None:
        """Raise CannotStart if the training data has changed. Between epochs, the next shard is no change."""
        next_shard = self.sharded and not state["iterations_in_epoch"]
        if next_shard or self._same_rows(state):
            return
        rows = f"{len(self.dataset)} rows, was {state['rows']}"
        if len(self.dataset) == state["rows"]:
            rows = f"{state['rows']} rows as before, but other lengths"
        changes = self._changes(state) or ["other files"]
        raise CannotStart(
            f"the training data differs from that of the checkpoint of epoch {state['epoch']}: {rows} "
            f"({', '.join(changes)}): resume with the same data, or give --reset-dataloader to begin again with epoch 1.",
            doing="resume",
        )

    def _changes(self, state: Mapping[str, Any]) -> list[str]:
        """Return the settings that differ from those of the checkpoint, as `--batch-size 8 (was 16)`."""
        saved = state["settings"]
        return [
            f"{flag} {value} (was {saved.get(flag)})"
            for flag, value in self.settings.items()
            if value != saved.get(flag)
        ]

    def _unpacked(self, bits: Tensor) -> np.ndarray:
        return np.unpackbits(bits.cpu().numpy(), count=len(self.dataset)).astype(bool)


def _packed(rows: np.ndarray) -> Tensor:
    return torch.from_numpy(np.packbits(rows))


def _count_trained_batches(batches: Batches, rows: np.ndarray) -> Optional[int]:
    """Return how many of the first batches have exactly these rows, a mask [N]; None if no number does."""
    wanted = int(rows.sum())
    ends = np.cumsum([len(batch) for batch in batches])
    count = int(np.searchsorted(ends, wanted)) + 1
    if count > len(batches) or ends[count - 1] != wanted or not rows[np.concatenate(batches[:count])].all():
        return None
    return count
