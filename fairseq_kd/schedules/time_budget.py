"""`--lr-scheduler time_budget`: sets the learning rate by the clock, and saves the clock in checkpoints."""

from typing import Any

from fairseq.logging import metrics
from fairseq.optim import FairseqOptimizer
from fairseq.optim.lr_scheduler import FairseqLRScheduler, register_lr_scheduler

from ..errors import CannotStart
from ..flags import warn_unused
from .flags import TimeBudgetConfig, budget, flag_errors, unused_flags, updates
from .timed_trainer import TimedTrainer
from .timer import Timer


@register_lr_scheduler("time_budget", dataclass=TimeBudgetConfig)
class TimeBudget(FairseqLRScheduler):
    """Sets the learning rate by the clock or by updates, and owns the clock.

    The scheduler owns the clock, because fairseq saves and restores a scheduler's state. `loop` wraps fairseq's
    training loop (see `fairseq_compat`).
    """

    def __init__(self, cfg: TimeBudgetConfig, optimizer: FairseqOptimizer) -> None:
        super().__init__(cfg, optimizer)
        if found := list(flag_errors(cfg)):
            raise CannotStart(*found)
        warn_unused(unused_flags(cfg))
        self.timer = Timer(budget(cfg))
        self.loop = TimedTrainer(self.timer, cfg)

    def state_dict(self) -> dict[str, Any]:
        return {
            **super().state_dict(),
            **self.timer.state_dict(),
            "low_loss_scale": self.loop.low_updates,
            "low_loss_scale_minimum": self.loop.lowest_loss_scale,
            "judged": self.loop.last_validation,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        if "elapsed" not in state_dict:
            raise CannotStart(
                "the run in --save-dir was started with another --lr-scheduler, so its used time is unknown: give "
                "another --save-dir, or --reset-lr-scheduler to count from now on."
            )
        super().load_state_dict(state_dict)
        self.timer.load_state_dict(state_dict)
        lowest = self.loop.lowest_loss_scale
        if state_dict.get("low_loss_scale_minimum", lowest) == lowest:
            self.loop.low_updates = state_dict["low_loss_scale"]
        self.loop.last_validation = state_dict.get("judged")  # missing in checkpoints of earlier versions

    def step_update(self, num_updates: int) -> float:
        """Read the clock and set the rate of the next update."""
        if self.timer.running:
            self.timer.read()
            metrics.log_scalar("counted_seconds", self.timer.elapsed, weight=0, priority=1600, round=1)
        cfg = self.cfg
        x = self.timer.share if cfg.lr_by == "time" else num_updates / updates(cfg)
        rate = factor(cfg.lr_curve, x, cfg.lr_warmup, cfg.lr_decay_rate, cfg.lr_decay_step)
        self.optimizer.set_lr(cfg.lr[0] * rate)
        return self.optimizer.get_lr()


def factor(curve: str, x: float, warmup: float, decay_rate: float, decay_step: float) -> float:
    """Return the learning rate at share x of the schedule, divided by its peak.

        x / w                x < w, the warm-up
        (1 - x) / (1 - w)    linear
        r ^ ((x - w) / s)    exponential
        1                    constant

    x is 0 at the beginning and 1 at the end. w is the share of the warm-up (below 1), r the `decay_rate`, s the
    `decay_step`. From academic-budget BERT (Izsak et al., How to Train BERT with an Academic Budget, EMNLP 2021).
    """
    x = min(x, 1.0)
    if x < warmup:
        return x / warmup
    if curve == "linear":
        return (1.0 - x) / (1.0 - warmup)
    if curve == "exponential":
        return decay_rate ** ((x - warmup) / decay_step)
    return 1.0
