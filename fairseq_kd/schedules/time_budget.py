"""`--lr-scheduler time_budget`: the learning rate, and the home of what must survive a restart."""

from typing import Any

from fairseq.logging import metrics
from fairseq.optim.lr_scheduler import FairseqLRScheduler, register_lr_scheduler

from ..errors import CannotStart
from ..unused_flags import warn_unused
from .budget import Timer
from .contradictions import problems, unused_flags
from .curves import factor
from .flags import TimeBudgetConfig, budget, decay, hopeless, low_loss_scale, updates
from .loop import TimedLoop


@register_lr_scheduler("time_budget", dataclass=TimeBudgetConfig)
class TimeBudget(FairseqLRScheduler):
    """The learning rate by the clock or by updates, and the clock itself.

    fairseq saves and restores the state of a scheduler, so what is counted is kept here. What is done
    by the clock is in `loop`, which stands around fairseq's training loop (see `fairseq_compat`).
    """

    def __init__(self, cfg: TimeBudgetConfig, optimizer) -> None:
        super().__init__(cfg, optimizer)
        wrong = problems(cfg)
        if wrong:
            raise CannotStart(*wrong)
        warn_unused(unused_flags(cfg))
        self.timer = Timer(budget(cfg))
        self.loop = TimedLoop(
            self.timer,
            hopeless(cfg),
            low_loss_scale(cfg),
            cfg.count_validation_time,
            cfg.finetune_checkpoint_at_end,
        )

    def state_dict(self) -> dict[str, Any]:
        return {
            **super().state_dict(),
            **self.timer.state_dict(),
            "low_loss_scale": self.loop.low_loss_scale.count,
            "low_loss_scale_minimum": self.loop.low_loss_scale.minimum,
            "judged": self.loop.judged,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        if "elapsed" not in state_dict:
            raise CannotStart(
                "the run in --save-dir was begun with another --lr-scheduler than time_budget, which counted no time: give "
                "another --save-dir, or --reset-lr-scheduler to count from now on."
            )
        super().load_state_dict(state_dict)
        self.timer.load_state_dict(state_dict)
        low = self.loop.low_loss_scale
        if state_dict.get("low_loss_scale_minimum", low.minimum) == low.minimum:
            low.count = state_dict["low_loss_scale"]
        self.loop.judged = state_dict.get("judged")  # checkpoints of earlier versions do not say

    def step_begin_epoch(self, epoch: int) -> None:
        """Makes sure, before the first update, that somebody will act by the clock."""
        if not self.timer.clock.running:
            raise CannotStart(
                "--lr-scheduler time_budget acts through fairseq_compat, which does not stand around this training "
                "loop: start with fairseq-train or fairseq-hydra-train of an environment in which this package is "
                "installed."
            )

    def step_update(self, num_updates: int) -> float:
        """Reads the clock and sets the rate of the next update."""
        if self.timer.clock.running:
            self.timer.read()
            metrics.log_scalar("counted_seconds", self.timer.elapsed, weight=0, priority=1600, round=1)
        cfg = self.cfg
        x = self.timer.share if cfg.lr_by == "time" else num_updates / updates(cfg)
        rate = factor(cfg.lr_curve, x, cfg.lr_warmup, *decay(cfg))
        self.optimizer.set_lr(cfg.lr[0] * rate)
        return self.optimizer.get_lr()
