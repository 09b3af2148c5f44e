"""A resumed run trains the rest of its epoch; stock trainings of fairseq are not changed."""

import importlib.util
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
import torch
from fairseq.data import iterators
from fairseq.data.iterators import CountingIterator, GroupedIterator
from fairseq.dataclass.configs import CheckpointConfig
from fairseq_cli import train  # noqa: F401 - patches them

from fairseq_compat import resume


def counting(batches, start: int) -> CountingIterator:
    """Return an iterator of a training that resumes exactly."""
    iterator = CountingIterator(batches, start=start)
    iterator.from_position = True
    return iterator


@pytest.mark.parametrize("position", [0, 3, 6])
@pytest.mark.parametrize("size", [1, 3, 8])
def test_updates_have_all_remaining_batches(position, size):
    left = list(range(position, 7))
    updates = list(GroupedIterator(counting(left, position), size))
    assert [batch for update in updates for batch in update] == left
    assert {len(update) for update in updates[:-1]} <= {size}


def test_an_incomplete_update_is_skipped():
    batches = counting(range(2, 9), 2)
    assert list(GroupedIterator(batches, 3, skip_remainder_batch=True)) == [[2, 3, 4], [5, 6, 7]]
    assert not batches.has_next()


class Rows(torch.utils.data.Dataset):
    def __getitem__(self, index: int) -> int:
        return index


@pytest.mark.parametrize("skip", [False, True])
@pytest.mark.parametrize("position", [0, 3, 5])
def test_the_iterators_of_stock_trainings_are_not_changed(position, skip):
    """Compares the patched module with a second copy of it, which the import hook does not patch."""
    spec = importlib.util.spec_from_file_location("stock_iterators", iterators.__file__)
    stock = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(stock)

    def read(module) -> tuple:
        batches = [[2 * number, 2 * number + 1] for number in range(7)]
        epochs = module.EpochBatchIterator(Rows(), list, batches, skip_remainder_batch=skip, num_workers=0)
        epochs.load_state_dict({"epoch": 1, "iterations_in_epoch": position, "shuffle": True, "version": 2})
        updates = module.GroupedIterator(epochs.next_epoch_itr(), 2, skip)
        return list(updates), len(updates), updates.n, epochs.state_dict()

    assert read(iterators) == read(stock)


def test_the_checkpoints_and_the_end_of_stock_trainings_are_not_changed():
    class Trainer:
        task = SimpleNamespace()

        def save_checkpoint(self, filename, extra_state):
            return saved.update({filename: extra_state})

    saved = {}
    module = SimpleNamespace(
        Trainer=Trainer, should_stop_early=Mock(num_runs=9), train=Mock(return_value="trained")
    )
    module.checkpoint_utils = SimpleNamespace(load_checkpoint=Mock(return_value="loaded"))
    resume.save_early_stopping(module)
    resume.load_early_stopping(module)
    module.train.__name__ = "train"
    resume.stay_finished(module)

    Trainer().save_checkpoint("last.pt", {"val_loss": 1})
    assert saved == {"last.pt": {"val_loss": 1}}
    assert module.checkpoint_utils.load_checkpoint(None, Trainer()) == "loaded"
    assert module.train(None, Trainer()) == "trained"


def test_a_checkpoint_to_fine_tune_from_brings_no_progress(tmp_path):
    """With `--finetune-from-model`, fairseq loads only the weights, without any of the `--reset-` flags."""
    counted = {"best": 0.1, "num_runs": 3}
    extra_state = {
        "early_stopping": {**counted, "metric": "lowest loss"},
        "train_iterator": {"epoch": 4, "iterations_in_epoch": 0},
        "val_loss": 0.5,
    }
    module = SimpleNamespace(should_stop_early=lambda: None, checkpoint_utils=SimpleNamespace())
    module.checkpoint_utils.save_checkpoint = lambda: None
    module.checkpoint_utils.load_checkpoint = lambda cfg, trainer: (extra_state, None)
    resume.load_early_stopping(module)
    cfg = CheckpointConfig(save_dir=str(tmp_path), finetune_from_model="first.pt")

    trainer = Mock(checkpoint_suffix="", task=SimpleNamespace(dummy_batches_count=False))
    trainer.cfg.optimization.max_epoch = 0
    module.checkpoint_utils.load_checkpoint(cfg, trainer)
    assert vars(module.should_stop_early) == {}
    trainer.lr_step.assert_not_called()

    (tmp_path / "checkpoint_last.pt").touch()
    module.checkpoint_utils.load_checkpoint(cfg, trainer)
    assert vars(module.should_stop_early) == counted
    trainer.lr_step.assert_called_once_with(3, 0.5)
