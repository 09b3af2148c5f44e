"""Makes a resumed run train the rest of its epoch, and a finished run train nothing.

fairseq checks `--max-update`, `--stop-time-hours` and `--patience` only after an update. Its checkpoints do not store the
number of validations without improvement, which `--patience` counts. Runs with tasks of other packages do not
change, except that `reduce_lr_on_plateau` saves its counter.
"""

import logging
import math
from pathlib import Path
from types import ModuleType
from typing import Any

from .wrap import is_ours, wrap

logger = logging.getLogger(__name__)


def resume_within_epoch(module: ModuleType) -> None:
    """Make `--update-freq` and `--skip-remainder-batch` count batches from the position at which a run resumes.

    fairseq divides the epoch into updates from its beginning. If it skips the last batch, it also subtracts the
    batches before the position twice. Either way, a resumed run does not read all remaining batches.

    This applies to iterators with the attribute `from_position`, which `fairseq_kd.data.epoch_position` sets.
    """

    @wrap(module.GroupedIterator, "__init__")
    def grouped(original, self, iterable, chunk_size: int, skip_remainder_batch: bool = False) -> None:
        if not getattr(iterable, "from_position", False):
            original(self, iterable, chunk_size, skip_remainder_batch)
            return
        position = iterable.n
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
        chunks = module._chunk_iterator(iterable, chunk_size, skip_remainder_batch)
        start = math.ceil(position / chunk_size)
        module.CountingIterator.__init__(self, chunks, start, start + updates)
        self.chunk_size = chunk_size


def exact_resume(module: ModuleType) -> None:
    """Patch the functions of `fairseq_cli.train` that save, load and use the state of a run."""
    from fairseq.optim.lr_scheduler.reduce_lr_on_plateau import ReduceLROnPlateauLRSchedule

    save_early_stopping(module)
    load_early_stopping(module)
    stay_finished(module)
    save_bad_epochs(ReduceLROnPlateauLRSchedule)


def save_early_stopping(module: ModuleType) -> None:
    """Save the counter of `--patience` in checkpoints."""

    @wrap(module.Trainer, "save_checkpoint")
    def save(original, self, filename: str, extra_state: dict[str, Any]) -> None:
        if is_ours(self.task):
            counted = vars(module.should_stop_early)
            state = {name: counted[name] for name in ("best", "num_runs") if name in counted}
            extra_state = {**extra_state, "early_stopping": {**state, "metric": _metric(self.cfg.checkpoint)}}
        original(self, filename, extra_state)


def load_early_stopping(module: ModuleType) -> None:
    """Restore the counter of `--patience` and the end of the last epoch from a checkpoint."""
    utils = module.checkpoint_utils

    @wrap(utils, "load_checkpoint")
    def load(original, cfg, trainer, **kwargs):
        if not is_ours(trainer.task):
            return original(cfg, trainer, **kwargs)
        # fairseq stores both as attributes of functions, which may still be set by another run of this process.
        vars(module.should_stop_early).clear()
        vars(utils.save_checkpoint).pop("best", None)
        last = Path(cfg.save_dir, f"checkpoint_last{trainer.checkpoint_suffix}.pt")
        # With --finetune-from-model, fairseq loads only the weights.
        weights_only = cfg.reset_optimizer or (cfg.finetune_from_model is not None and not last.exists())
        extra_state, epoch_itr = original(cfg, trainer, **kwargs)
        limit = trainer.cfg.optimization.max_epoch
        if 0 < limit < epoch_itr.next_epoch_idx:
            logger.info(f"Not training: --max-epoch {limit} is reached")
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
        before, now = saved["metric"], _metric(cfg)
        if before == now:
            vars(module.should_stop_early).update(counted)
            return
        vars(utils.save_checkpoint).pop("best", None)
        logger.info(f"the best score so far is ignored: it was the {before}, but this run keeps the {now}")


def _metric(cfg) -> str:
    """Return the criterion for the best checkpoint, such as `highest accuracy`."""
    return f"{'highest' if cfg.maximize_best_checkpoint_metric else 'lowest'} {cfg.best_checkpoint_metric}"


def _end_epoch(trainer, extra_state: dict[str, Any]) -> None:
    """Pass the result of the last epoch to the scheduler, because fairseq does so after it saves the checkpoint."""
    position = extra_state["train_iterator"]
    if position["epoch"] > 1 and not position["iterations_in_epoch"]:
        trainer.lr_step(position["epoch"] - 1, extra_state["val_loss"])


def stay_finished(module: ModuleType) -> None:
    """Train nothing if a limit of the run is reached already."""

    @wrap(module, "train")
    def train_unless_finished(original, cfg, trainer, *args):
        reason = _finished(cfg, trainer, module.should_stop_early) if is_ours(trainer.task) else None
        if reason is None:
            return original(cfg, trainer, *args)
        logger.info(f"Not training: {reason}")
        return [None], True


def _finished(cfg, trainer, should_stop_early) -> str | None:
    """Return why a resumed run is finished, or None. The result is the same on every worker."""
    updates, limit = trainer.get_num_updates(), cfg.optimization.max_update
    if 0 < limit <= updates:
        return f"--max-update {limit} is reached, after {updates} updates"
    hours, limit = trainer._previous_training_time / 3600, cfg.optimization.stop_time_hours
    if 0 < limit < hours:
        return f"--stop-time-hours {limit:g} is reached, after {hours:.2f} hours"
    worse, limit = getattr(should_stop_early, "num_runs", 0), cfg.checkpoint.patience
    if 0 < limit <= worse:
        return f"--patience {limit} is reached: the last {worse} validations brought no improvement"
    return None


def save_bad_epochs(scheduler: type) -> None:
    """Save the counter of `--lr-patience` with `--lr-scheduler reduce_lr_on_plateau`."""

    @wrap(scheduler, "state_dict")
    def save(original, self) -> dict[str, Any]:
        return {**original(self), "num_bad_epochs": self.lr_scheduler.num_bad_epochs}

    @wrap(scheduler, "load_state_dict")
    def load(original, self, state: dict[str, Any]) -> None:
        original(self, state)
        self.lr_scheduler.num_bad_epochs = state.get("num_bad_epochs", 0)
