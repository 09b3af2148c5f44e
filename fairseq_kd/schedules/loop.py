"""What is done by the clock, around fairseq's training loop."""

import contextlib
import logging
import os
from collections.abc import Callable
from typing import Optional

from fairseq import checkpoint_utils

from ..metrics import reset_meters
from .budget import Timer
from .stopping import Hopeless, LowLossScale
from .workers import from_first

logger = logging.getLogger(__name__)

Losses = list[Optional[float]]


class TimedLoop:
    """Stands around three functions of `fairseq_cli.train`, each of which it is given as `original`.

    All workers do the same: they go by the timer's reading, which is the first worker's, and what a
    validation leads to is decided by the first worker.
    """

    def __init__(
        self,
        timer: Timer,
        hopeless: Hopeless,
        low_loss_scale: LowLossScale,
        count_validation: bool,
        keep_at_end: bool,
    ) -> None:
        self.timer = timer
        self.hopeless = hopeless
        self.low_loss_scale = low_loss_scale
        self.count_validation = count_validation
        self.keep_at_end = keep_at_end
        self.verdict: Optional[str] = None
        # The last validation's metric, and the seconds counted by then.
        self.judged: Optional[tuple[float, float]] = None

    def train(self, original: Callable, cfg, trainer, task, epoch_itr) -> tuple[Losses, bool]:
        """One epoch, or what is left of it; none where the run has ended before.

        Where the time ran out between two epochs, or before a restart, one update leads to the end. A run that was
        stopped early trains only if its flags now allow what stopped it.
        """
        reason = self._used_up() if self.timer.ended else self._stopped_early()
        if from_first(float(bool(reason))):
            logger.info(f"Not training: {reason}")
            return [None], True

        self._tell(trainer)
        self.timer.clock.start()
        return original(cfg, trainer, task, epoch_itr)

    def validate(self, original: Callable, cfg, trainer, task, epoch_itr, subsets: list[str]) -> Losses:
        """A validation, counted or not, and judged by the first subset."""
        with contextlib.nullcontext() if self.count_validation else self.timer.clock.paused():
            losses = original(cfg, trainer, task, epoch_itr, subsets)
        self.judged = float(losses[0]), self.timer.elapsed
        reason = self.hopeless.reason(*self.judged)
        # Another worker's sentence, should it have none of its own, is in the first one's log.
        self.verdict = (reason or "the first worker says so") if from_first(float(bool(reason))) else None
        return losses

    def validate_and_save(
        self, original: Callable, cfg, trainer, task, epoch_itr, subsets: list[str], end_of_epoch: bool
    ) -> tuple[Losses, bool]:
        """What has become due by the clock, around what fairseq does after an update."""
        from fairseq_cli import train

        due = self.timer.due()
        if self._tell(trainer):
            _forget_losses(train)
        # First, for what fairseq saves next says that these are no longer due.
        for share in due.checkpoints:
            _keep(f"share{share:g}", cfg, trainer, epoch_itr)
        losses, stop = original(cfg, trainer, task, epoch_itr, subsets, end_of_epoch)
        validate = due.validation or due.over
        if validate and losses[0] is None and not cfg.dataset.disable_validation:
            losses = train.validate(cfg, trainer, task, epoch_itr, subsets)
            stop = train.should_stop_early(cfg, losses[0]) or stop

        hopeless = self.verdict or self.low_loss_scale.reason(_loss_scale(trainer))
        ends = due.over or stop or (end_of_epoch and epoch_itr.epoch == cfg.optimization.max_epoch)
        if due.over:
            self.timer.end()
        keep_end = self.keep_at_end and ends and not hopeless
        if keep_end:
            _keep("end", cfg, trainer, epoch_itr)
        if validate or due.checkpoints or keep_end or hopeless:
            checkpoint_utils.save_checkpoint(cfg.checkpoint, trainer, epoch_itr, losses[0])
        if hopeless or due.over:
            logger.info(f"Stopping training: {hopeless or self._used_up()}")
        return losses, bool(stop or hopeless or due.over)

    def _stopped_early(self) -> Optional[str]:
        return (self.judged and self.hopeless.reason(*self.judged)) or self.low_loss_scale.verdict

    def _used_up(self) -> str:
        return f"{self.timer.elapsed:.1f} of {self.timer.budget.end:g} seconds are used up"

    def _tell(self, trainer) -> bool:
        """Tells a criterion with stages which share is used; True where its objective changed."""
        stages = getattr(trainer.get_criterion(), "stages", None)
        return stages is not None and stages.at_share(self.timer.share)


def _keep(name: str, cfg, trainer, epoch_itr) -> None:
    """Writes checkpoint_NAME.pt, which fairseq never removes or overwrites."""
    trainer.consolidate_optimizer()
    path = os.path.join(cfg.checkpoint.save_dir, f"checkpoint_{name}{trainer.checkpoint_suffix}.pt")
    if trainer.should_save_checkpoint_on_current_rank:
        trainer.save_checkpoint(path, {"train_iterator": epoch_itr.state_dict(), "val_loss": None})
    elif trainer.always_call_state_dict_during_save_checkpoint:
        trainer.state_dict()


def _forget_losses(train) -> None:
    """Losses of another objective say nothing of what comes now: neither the best nor the averages."""
    vars(checkpoint_utils.save_checkpoint).pop("best", None)
    vars(train.should_stop_early).clear()
    for group in ("train", "train_inner"):
        reset_meters(group)


def _loss_scale(trainer) -> Optional[float]:
    """fp16's; None in other precisions."""
    return getattr(getattr(trainer.optimizer, "scaler", None), "loss_scale", None)
