"""Lets a resumed run train what is left of its epoch, and a finished one train nothing.

A checkpoint of fairseq does not hold how many validations brought no improvement (`--patience`), and fairseq looks at
`--max-update`, `--stop-time-hours` and `--patience` only after an update.
"""

import functools
import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

logger = logging.getLogger(__name__)


@contextmanager
def exact_resumes(module: ModuleType) -> Iterator[None]:
    """Patches what `fairseq_cli.train` calls: iterators, `Trainer.save_checkpoint`, `load_checkpoint`, and `train`."""
    yield
    from fairseq.optim.lr_scheduler.reduce_lr_on_plateau import ReduceLROnPlateauLRSchedule

    count_from_position(module.iterators)
    _save_early_stopping(module)
    load_early_stopping(module)
    _stay_finished(module)
    save_bad_epochs(ReduceLROnPlateauLRSchedule)


def count_from_position(iterators: ModuleType) -> None:
    """Makes `--update-freq` and `--skip-remainder-batch` count batches from the position that a run resumes from.

    fairseq divides the epoch's batches into updates from its beginning, and subtracts the batches before the position
    twice if it is to skip the last one. Either way a resumed run does not read all that is left.
    """

    def grouped(self, iterable, chunk_size: int, skip_remainder_batch: bool = False) -> None:
        position = getattr(iterable, "n", 0)
        left = len(iterable) - position
        updates = left // chunk_size if skip_remainder_batch else math.ceil(left / chunk_size)
        if not updates:
            raise SystemExit(
                f"Cannot train: an update takes {chunk_size} batches of each worker (--update-freq), and {left} are left "
                "in the epoch: leave out --skip-remainder-batch, or give a smaller --update-freq or --batch-size."
            )
        logger.info(f"updates left in the epoch: {updates}")
        if skip_remainder_batch:
            iterable.take(position + updates * chunk_size)
        chunks = iterators._chunk_iterator(iterable, chunk_size, skip_remainder_batch)
        start = math.ceil(position / chunk_size)
        iterators.CountingIterator.__init__(self, chunks, start, start + updates)
        self.chunk_size = chunk_size

    get_iterator = iterators.EpochBatchIterator._get_iterator_for_epoch

    @functools.wraps(get_iterator)
    def get_iterator_for_epoch(self, *args, **kwargs):
        skip, self.skip_remainder_batch = self.skip_remainder_batch, False
        try:
            iterator = get_iterator(self, *args, **kwargs)
        finally:
            self.skip_remainder_batch = skip
        if skip and iterator is not None:
            iterator.take(len(iterator) - 1)
        return iterator

    iterators.GroupedIterator.__init__ = grouped
    iterators.EpochBatchIterator._get_iterator_for_epoch = get_iterator_for_epoch


def _save_early_stopping(module: ModuleType) -> None:
    save_checkpoint = module.Trainer.save_checkpoint

    @functools.wraps(save_checkpoint)
    def save(self, filename: str, extra_state: dict[str, Any]) -> None:
        counted = vars(module.should_stop_early)
        state = {name: counted[name] for name in ("best", "num_runs") if name in counted}
        state["metric"] = _metric(self.cfg.checkpoint)
        save_checkpoint(self, filename, {**extra_state, "early_stopping": state})

    module.Trainer.save_checkpoint = save


def load_early_stopping(module: ModuleType) -> None:
    utils = module.checkpoint_utils
    load_checkpoint = utils.load_checkpoint

    @functools.wraps(load_checkpoint)
    def load(cfg, trainer, **kwargs):
        # fairseq keeps both on functions, where those of another run in this process may be.
        vars(module.should_stop_early).clear()
        vars(utils.save_checkpoint).pop("best", None)
        last = Path(cfg.save_dir, f"checkpoint_last{trainer.checkpoint_suffix}.pt")
        # Of a model to fine-tune from, fairseq loads the weights alone.
        weights_only = cfg.reset_optimizer or (cfg.finetune_from_model is not None and not last.exists())
        extra_state, epoch_itr = load_checkpoint(cfg, trainer, **kwargs)
        most = trainer.cfg.optimization.max_epoch
        if 0 < most < epoch_itr.next_epoch_idx:
            logger.info(f"Not training: --max-epoch {most} is reached")
        if extra_state is not None and not weights_only:
            if not cfg.reset_meters:
                restore(extra_state.get("early_stopping"), cfg)
            if not cfg.reset_lr_scheduler:
                _end_epoch(trainer, extra_state)
        return extra_state, epoch_itr

    def restore(saved: dict[str, Any] | None, cfg) -> None:
        if saved is None:  # a checkpoint of an earlier version
            return
        counted = {name: value for name, value in saved.items() if name != "metric"}
        metric, chosen = saved["metric"], _metric(cfg)
        if metric == chosen:
            vars(module.should_stop_early).update(counted)
            return
        vars(utils.save_checkpoint).pop("best", None)
        logger.info(f"the best score so far is forgotten, since it was chosen by {metric}, now by {chosen}")

    utils.load_checkpoint = load


def _metric(cfg) -> str:
    """By what a checkpoint is the best."""
    return f"{'highest' if cfg.maximize_best_checkpoint_metric else 'lowest'} {cfg.best_checkpoint_metric}"


def _end_epoch(trainer, extra_state: dict[str, Any]) -> None:
    """Tells the learning rate scheduler how the last epoch ended: fairseq does so after it saved the checkpoint."""
    position = extra_state["train_iterator"]
    if position["epoch"] > 1 and not position["iterations_in_epoch"]:
        trainer.lr_step(position["epoch"] - 1, extra_state["val_loss"])


def _stay_finished(module: ModuleType) -> None:
    train = module.train

    @functools.wraps(train)
    def train_unless_finished(cfg, trainer, *args):
        if reason := _finished(cfg, trainer, module.should_stop_early):
            logger.info(f"Not training: {reason}")
            return [None], True
        return train(cfg, trainer, *args)

    module.train = train_unless_finished


def _finished(cfg, trainer, should_stop_early) -> str:
    """Why a run that is resumed has nothing to do; empty if it has. The same on every worker."""
    updates, most = trainer.get_num_updates(), cfg.optimization.max_update
    if 0 < most <= updates:
        return f"--max-update {most} is reached, after {updates} updates"
    hours, most = trainer._previous_training_time / 3600, cfg.optimization.stop_time_hours
    if 0 < most < hours:
        return f"--stop-time-hours {most:g} is reached, after {hours:.2f} hours"
    worse, most = getattr(should_stop_early, "num_runs", 0), cfg.checkpoint.patience
    if 0 < most <= worse:
        return f"--patience {most} is reached: the last {worse} validations brought no improvement"
    return ""


def save_bad_epochs(scheduler: type) -> None:
    """Lets `--lr-scheduler reduce_lr_on_plateau` save what it counts for `--lr-patience`."""
    state_dict, load_state_dict = scheduler.state_dict, scheduler.load_state_dict

    def save(self) -> dict[str, Any]:
        return {**state_dict(self), "num_bad_epochs": self.lr_scheduler.num_bad_epochs}

    def load(self, state: dict[str, Any]) -> None:
        load_state_dict(self, state)
        self.lr_scheduler.num_bad_epochs = state.get("num_bad_epochs", 0)

    scheduler.state_dict, scheduler.load_state_dict = save, load
