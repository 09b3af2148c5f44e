"""fairseq's iterators in the middle of an epoch."""

from types import SimpleNamespace
from unittest.mock import Mock

import pytest
import torch
from fairseq.data.iterators import CountingIterator, EpochBatchIterator, GroupedIterator
from fairseq.dataclass.configs import CheckpointConfig
from fairseq_cli import train  # noqa: F401 - patches them

from fairseq_compat.resume import load_early_stopping


@pytest.mark.parametrize("position", range(7))
@pytest.mark.parametrize("size", [1, 2, 3, 8])
def test_updates_hold_all_batches_that_are_left(position, size):
    left = list(range(position, 7))
    updates = list(GroupedIterator(CountingIterator(left, start=position), size))
    assert [batch for update in updates for batch in update] == left
    assert {len(update) for update in updates[:-1]} <= {size}


def test_an_update_that_is_not_whole_is_skipped():
    batches = CountingIterator(range(2, 9), start=2)
    assert list(GroupedIterator(batches, 3, skip_remainder_batch=True)) == [[2, 3, 4], [5, 6, 7]]
    assert not batches.has_next()


class Rows(torch.utils.data.Dataset):
    def __getitem__(self, index: int) -> int:
        return index


@pytest.mark.parametrize("buffer_size", [0, 2])
@pytest.mark.parametrize("position", [0, 3, 5])
def test_the_last_batch_alone_is_skipped(position, buffer_size):
    def epochs() -> EpochBatchIterator:
        batches = [[2 * number, 2 * number + 1] for number in range(7)]
        return EpochBatchIterator(Rows(), list, batches, skip_remainder_batch=True, buffer_size=buffer_size)

    expected = list(epochs().next_epoch_itr(shuffle=False))
    assert expected == [[2 * number, 2 * number + 1] for number in range(6)]

    resumed = epochs()
    resumed.load_state_dict({"epoch": 1, "iterations_in_epoch": position, "shuffle": False, "version": 2})
    assert list(resumed.next_epoch_itr(shuffle=False)) == expected[position:]


def test_only_a_run_of_its_own_brings_progress(tmp_path):
    """From `--finetune-from-model` fairseq takes the weights alone, without any of the `--reset-` flags."""
    counted = {"best": 0.1, "num_runs": 3}
    extra_state = {
        "early_stopping": {**counted, "metric": "lowest loss"},
        "train_iterator": {"epoch": 4, "iterations_in_epoch": 0},
        "val_loss": 0.5,
    }
    module = SimpleNamespace(should_stop_early=lambda: None, checkpoint_utils=SimpleNamespace())
    module.checkpoint_utils.save_checkpoint = lambda: None
    module.checkpoint_utils.load_checkpoint = lambda cfg, trainer: (extra_state, None)
    load_early_stopping(module)
    cfg = CheckpointConfig(save_dir=str(tmp_path), finetune_from_model="first.pt")

    trainer = Mock(checkpoint_suffix="")
    trainer.cfg.optimization.max_epoch = 0
    module.checkpoint_utils.load_checkpoint(cfg, trainer)
    assert vars(module.should_stop_early) == {}
    trainer.lr_step.assert_not_called()

    (tmp_path / "checkpoint_last.pt").touch()
    module.checkpoint_utils.load_checkpoint(cfg, trainer)
    assert vars(module.should_stop_early) == counted
    trainer.lr_step.assert_called_once_with(3, 0.5)
