"""Worker processes of data loaders end without the help of the garbage collector, which is switched off."""

import gc
import multiprocessing
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from fairseq.data import ListDataset
from fairseq.data.iterators import EpochBatchIterator
from fairseq.tasks import FairseqTask

from fairseq_compat import loaders

BATCHES = 40


class Numbers(ListDataset):
    """Each item is its index, and a batch of its own."""

    def __init__(self, cacheable: bool = False) -> None:
        super().__init__(list(range(BATCHES)), np.ones(BATCHES, dtype=int))
        self.cacheable = cacheable

    @property
    def can_reuse_epoch_itr_across_epochs(self) -> bool:
        return self.cacheable

    def ordered_indices(self) -> list[int]:
        return list(range(BATCHES))

    def collater(self, samples: list[int]) -> torch.Tensor:
        return torch.tensor(samples)

    def batch_by_size(self, indices: list[int], **_) -> list[list[int]]:
        return [[index] for index in indices]


@pytest.fixture(autouse=True)
def no_garbage_collection() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


def epochs(dataset: Numbers, workers: int = 1, buffer: int = 10) -> EpochBatchIterator:
    batches = dataset.batch_by_size(range(BATCHES))
    return EpochBatchIterator(dataset, dataset.collater, batches, num_workers=workers, buffer_size=buffer)


def read(iterator: EpochBatchIterator, batches: int = BATCHES) -> list[int]:
    epoch = iterator.next_epoch_itr()
    return [int(next(epoch)) for _ in range(batches)]


def stopping(function: Callable) -> Callable:
    """Return the function as the main function of a command that stops its readers."""
    command = SimpleNamespace(main=function)
    loaders.stop_early_readers(command)
    return command.main


def wait_for_readers() -> None:
    for reader in list(loaders._readers):
        reader.join(timeout=60)


@pytest.mark.slow
@pytest.mark.parametrize("buffer", [0, 10])
def test_workers_end_with_the_epoch_and_change_nothing(buffer):
    iterator, without = epochs(Numbers(), 2, buffer), epochs(Numbers(), workers=0, buffer=buffer)
    for _ in range(2):
        assert read(iterator) == read(without)
        wait_for_readers()
        assert multiprocessing.active_children() == []


def test_workers_end_when_training_fails_within_an_epoch():
    def train(iterator: EpochBatchIterator) -> None:
        read(iterator, 3)
        raise RuntimeError("loss is NaN")

    with pytest.raises(RuntimeError, match="loss is NaN"):
        stopping(train)(epochs(Numbers()))
    assert (multiprocessing.active_children(), loaders._readers) == ([], set())


def test_a_validation_in_mid_epoch_leaves_the_workers_of_the_training():
    iterator = epochs(Numbers())
    epoch = iterator.next_epoch_itr()
    begun = [int(next(epoch)) for _ in range(5)]
    training = multiprocessing.active_children()

    stopping(read)(epochs(Numbers()), 3)
    assert multiprocessing.active_children() == training
    assert begun + [int(batch) for batch in epoch] == read(epochs(Numbers(), workers=0))


def test_a_cached_iterator_has_a_new_loader_in_each_epoch():
    task, dataset = FairseqTask(None), Numbers(cacheable=True)
    iterator = task.get_batch_iterator(dataset, num_workers=1, data_buffer_size=10)
    assert task.get_batch_iterator(dataset, num_workers=1, data_buffer_size=10) is iterator
    for _ in range(2):
        read(iterator)
        wait_for_readers()
        assert multiprocessing.active_children() == []


def test_the_commands_stop_their_readers():
    from fairseq_cli import train, validate

    class Failing:
        """Starts a reader and fails at any attribute access."""

        def __getattr__(self, name: str):
            loaders._readers.add(reader)
            raise RuntimeError("failed")

    for command in (train.train, train.validate, validate.main):
        reader = Mock()
        with pytest.raises(RuntimeError, match="failed"):
            command(Failing(), Failing())
        loaders._readers.discard(reader)
        reader.stop.assert_called_once_with()
