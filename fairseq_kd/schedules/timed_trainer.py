"""Validates, saves and ends training by the clock; wraps fairseq's training loop."""

import contextlib
import logging
import math
import os
from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING, Any, Optional

from fairseq import checkpoint_utils

from ..metrics import reset_meters
from ..process_groups import broadcast_from_rank0
from .flags import MINUTE, TimeBudgetConfig
from .timer import Timer

if TYPE_CHECKING:
    from fairseq.data.iterators import EpochBatchIterator
    from fairseq.dataclass.configs import FairseqConfig
    from fairseq.tasks import FairseqTask
    from fairseq.trainer import Trainer

logger = logging.getLogger(__name__)

Losses = list[Optional[float]]

# Updates with the loss scale at its minimum before training stops.
LOW_SCALE_UPDATES = 100


def should_stop_early(cfg: TimeBudgetConfig, value: float, elapsed: float) -> Optional[str]:
    """Return why training should stop, or None; `value` is the metric after `elapsed` counted seconds."""
    metric, limit, minutes = cfg.best_checkpoint_metric, cfg.early_stop_loss, elapsed / MINUTE
    if math.isnan(value):
        return f"the validation's {metric} is not a number"
    if limit is None or elapsed < cfg.early_stop_minutes * MINUTE:
        return None
    higher = cfg.maximize_best_checkpoint_metric
    if (value > limit) if higher else (value < limit):
        return None
    wanted = f"{'above' if higher else 'below'} {limit:g} after {cfg.early_stop_minutes:g}"
    return f"the validation's {metric} is {value:g} after {minutes:.1f} minutes, and should be {wanted}"


class TimedTrainer:
    """Replaces three functions of `fairseq_cli.train`; each method receives the replaced one as `original`.

    All workers decide the same: they use the timer of rank 0, and rank 0 decides on early stops.
    """

    def __init__(self, timer: Timer, cfg: TimeBudgetConfig) -> None:
        self.timer = timer
        self.cfg = cfg
        self.stop_reason: Optional[str] = None
        # The metric of the last validation, and the seconds counted by then.
        self.last_validation: Optional[tuple[float, float]] = None
        self.lowest_loss_scale = max(cfg.early_stop_loss_scale, cfg.threshold_loss_scale or 0.0)
        # Successive updates with fp16's loss scale at the lowest.
        self.low_updates = 0

    def train(
        self, original: Callable, cfg: "FairseqConfig", trainer: "Trainer", *args: Any
    ) -> tuple[Losses, bool]:
        """Train the rest of one epoch, or nothing if the run has ended before.

        If the time ran out between two epochs or before a restart, the run trains one more update before it ends. A run
        that was stopped early continues only if its flags now allow it.
        """
        if self.timer.ended:
            reason = self._time_is_over()
        else:
            early = self.last_validation and should_stop_early(self.cfg, *self.last_validation)
            reason = early or self._scale_is_low()
        if broadcast_from_rank0(float(bool(reason))):
            logger.info(f"Not training: {reason}")
            return [None], True

        self._update_stage(trainer)
        self.timer.start()
        return original(cfg, trainer, *args)

    def validate(self, original: Callable, *args: Any) -> Losses:
        """Validate, with or without counting the time, and decide by the first subset whether to stop."""
        with contextlib.nullcontext() if self.cfg.count_validation_time else self.timer.paused():
            losses = original(*args)
        self.last_validation = float(losses[0]), self.timer.elapsed
        reason = should_stop_early(self.cfg, *self.last_validation)
        stops = broadcast_from_rank0(float(bool(reason)))
        self.stop_reason = (reason or "rank 0 stops the run") if stops else None
        return losses

    def validate_and_save(
        self,
        original: Callable,
        cfg: "FairseqConfig",
        trainer: "Trainer",
        task: "FairseqTask",
        epoch_itr: "EpochBatchIterator",
        subsets: list[str],
        end_of_epoch: bool,
    ) -> tuple[Losses, bool]:
        """Run fairseq's actions after an update, and those that are due by the clock."""
        from fairseq_cli import train

        due = self.timer.due()
        if self._update_stage(trainer):
            _reset_best_and_averages(train)
        # fairseq's next checkpoint records these as done, so they are saved before it.
        for share in due.checkpoints:
            _save_extra(f"share{share:g}", cfg, trainer, epoch_itr)
        losses, stop = original(cfg, trainer, task, epoch_itr, subsets, end_of_epoch)
        validate = due.validation or due.over
        if validate and losses[0] is None and not cfg.dataset.disable_validation:
            losses = train.validate(cfg, trainer, task, epoch_itr, subsets)
            stop = train.should_stop_early(cfg, losses[0]) or stop

        scale = _loss_scale(trainer)
        self.low_updates = 0 if scale is None or scale > self.lowest_loss_scale else self.low_updates + 1
        reason = self.stop_reason or self._scale_is_low()
        ends = due.over or stop or (end_of_epoch and epoch_itr.epoch == cfg.optimization.max_epoch)
        if due.over:
            self.timer.end()
        keep_end = self.cfg.finetune_checkpoint_at_end and ends and not reason
        if keep_end:
            _save_extra("end", cfg, trainer, epoch_itr)
        if validate or due.checkpoints or keep_end or reason:
            checkpoint_utils.save_checkpoint(cfg.checkpoint, trainer, epoch_itr, losses[0])
        if reason or due.over:
            logger.info(f"Stopping training: {reason or self._time_is_over()}")
        return losses, bool(stop or reason or due.over)

    def _scale_is_low(self) -> Optional[str]:
        if self.low_updates < LOW_SCALE_UPDATES:
            return None
        return f"the loss scale was {self.lowest_loss_scale:g} or less for {self.low_updates} updates"

    def _time_is_over(self) -> str:
        return f"{self.timer.elapsed:.1f} of {self.timer.budget.end:g} seconds are used"

    def _update_stage(self, trainer: "Trainer") -> bool:
        """Pass the used share to a criterion with stages; return whether its objective changed."""
        stages = getattr(trainer.get_criterion(), "stages", None)
        return stages is not None and stages.at_share(self.timer.share)


def _save_extra(name: str, cfg: "FairseqConfig", trainer: "Trainer", epoch_itr: "EpochBatchIterator") -> None:
    """Save checkpoint_NAME.pt, which fairseq never removes or overwrites."""
    trainer.consolidate_optimizer()
    path = os.path.join(cfg.checkpoint.save_dir, f"checkpoint_{name}{trainer.checkpoint_suffix}.pt")
    if trainer.should_save_checkpoint_on_current_rank:
        trainer.save_checkpoint(path, {"train_iterator": epoch_itr.state_dict(), "val_loss": None})
    elif trainer.always_call_state_dict_during_save_checkpoint:
        trainer.state_dict()


def _reset_best_and_averages(train: ModuleType) -> None:
    """Reset the best loss and the averages, which belong to the previous objective."""
    vars(checkpoint_utils.save_checkpoint).pop("best", None)
    vars(train.should_stop_early).clear()
    for group in ("train", "train_inner"):
        reset_meters(group)


def _loss_scale(trainer: "Trainer") -> Optional[float]:
    """Return fp16's loss scale; None in other precisions."""
    return getattr(getattr(trainer.optimizer, "scaler", None), "loss_scale", None)
