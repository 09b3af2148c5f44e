"""The flags of `--lr-scheduler time_budget`, and what they come to."""

import math
from dataclasses import dataclass, field
from typing import List, Optional  # noqa: UP035 - fairseq makes no flag of list[...]

from fairseq.dataclass import ChoiceEnum, FairseqDataclass
from omegaconf import II

from .budget import Budget
from .curves import CURVES
from .marks import validation_shares
from .stopping import Hopeless, LowLossScale

HOUR = 3600.0
MINUTE = 60.0


@dataclass
class TimeBudgetConfig(FairseqDataclass):
    total_training_time: Optional[float] = field(
        default=None,
        metadata={
            "help": "hours after which training ends, at any update of any epoch; all shares below are shares of it "
            "(default: no limit)"
        },
    )
    early_exit_time: Optional[float] = field(
        default=None,
        metadata={
            "help": "hours after which training ends part-way down a schedule made for the whole "
            "--total-training-time (default: that time)"
        },
    )
    finetune_checkpoint_shares: List[float] = field(
        default_factory=list,
        metadata={
            "help": "shares of the budget, rising, at which to keep checkpoint_shareSHARE.pt for fine-tuning, such as "
            "0.25,0.5 (default: none)"
        },
    )
    finetune_checkpoint_at_end: bool = field(
        default=False,
        metadata={"help": "keep checkpoint_end.pt, for fine-tuning, when training ends (default: not)"},
    )
    lr_by: ChoiceEnum(["time", "updates"]) = field(
        default="time",
        metadata={
            "help": "what the learning rate follows: the share of --total-training-time, or that of --total-num-update "
            "(default: time)"
        },
    )
    lr_curve: ChoiceEnum(CURVES) = field(
        default="linear",
        metadata={"help": "the learning rate after warm-up; linear ends at 0 (default: linear)"},
    )
    lr_warmup: float = field(
        default=0.06,
        metadata={"help": "share of the schedule in which the rate rises from 0 to --lr (default: 0.06)"},
    )
    lr_decay_rate: Optional[float] = field(
        default=None,
        metadata={
            "help": "with --lr-curve exponential, what the rate is multiplied by over each --lr-decay-step, no unit "
            "(default: 0.5)"
        },
    )
    lr_decay_step: Optional[float] = field(
        default=None,
        metadata={
            "help": "with --lr-curve exponential, over which share of the schedule that is (default: 0.1)"
        },
    )
    total_num_update: Optional[float] = field(
        default=None,
        metadata={"help": "updates in the schedule, with --lr-by updates (default: --max-update)"},
    )
    early_stop_minutes: Optional[float] = field(
        default=None,
        metadata={
            "help": "minutes after which every validation must be better than --early-stop-loss, or training ends "
            "(default: no such limit)"
        },
    )
    early_stop_loss: Optional[float] = field(
        default=None,
        metadata={
            "help": "what the loss on the first --valid-subset has to be below by then; of another "
            "--best-checkpoint-metric, what it has to be better than (default: none)"
        },
    )
    early_stop_loss_scale: float = field(
        default=1.0,
        metadata={
            "help": "training ends when --fp16's loss scale was this or less, or at its --threshold-loss-scale, for 100 "
            "updates; 0 for the latter alone (default: 1)"
        },
    )
    validation_interval: Optional[float] = field(
        default=None,
        metadata={
            "help": "share of the budget between two validations, each of which saves, beside those of fairseq's own "
            "flags (default: none)"
        },
    )
    validation_begin: float = field(
        default=0.0,
        metadata={"help": "share until which --validation-begin-interval holds instead (default: 0)"},
    )
    validation_begin_interval: Optional[float] = field(
        default=None,
        metadata={
            "help": "share of the budget between two validations at the beginning (default: the usual)"
        },
    )
    validation_end: float = field(
        default=1.0,
        metadata={"help": "share from which --validation-end-interval holds instead (default: 1)"},
    )
    validation_end_interval: Optional[float] = field(
        default=None,
        metadata={"help": "share of the budget between two validations at the end (default: the usual)"},
    )
    count_validation_time: bool = field(
        default=False,
        metadata={"help": "validations use up the budget, too (default: the clock stands still)"},
    )
    lr: List[float] = II("optimization.lr")
    max_update: int = II("optimization.max_update")
    best_checkpoint_metric: str = II("checkpoint.best_checkpoint_metric")
    maximize_best_checkpoint_metric: bool = II("checkpoint.maximize_best_checkpoint_metric")
    no_save: bool = II("checkpoint.no_save")
    disable_validation: bool = II("dataset.disable_validation")
    threshold_loss_scale: Optional[float] = II("common.threshold_loss_scale")


def end(cfg: TimeBudgetConfig) -> float:
    """Seconds after which training ends; infinite without a time budget."""
    hours = cfg.total_training_time if cfg.early_exit_time is None else cfg.early_exit_time
    return math.inf if hours is None else hours * HOUR


def updates(cfg: TimeBudgetConfig) -> float:
    """Updates in a schedule that follows them; 0 where that is unknown."""
    return cfg.total_num_update or cfg.max_update


def decay(cfg: TimeBudgetConfig) -> tuple[float, float]:
    """What the exponential curve multiplies the rate by, and over which share of the schedule."""
    rate = 0.5 if cfg.lr_decay_rate is None else cfg.lr_decay_rate
    return rate, 0.1 if cfg.lr_decay_step is None else cfg.lr_decay_step


def budget(cfg: TimeBudgetConfig) -> Budget:
    """The budget that the flags describe, in seconds."""
    total = None if cfg.total_training_time is None else cfg.total_training_time * HOUR
    validations = [] if cfg.early_stop_minutes is None else [cfg.early_stop_minutes * MINUTE]
    if total is None:
        return Budget(validations=tuple(validations))

    shares = validation_shares(
        cfg.validation_interval,
        cfg.validation_begin,
        cfg.validation_begin_interval,
        cfg.validation_end,
        cfg.validation_end_interval,
    )
    return Budget(
        total,
        end(cfg),
        tuple(sorted(validations + [share * total for share in shares])),
        {share * total: share for share in cfg.finetune_checkpoint_shares},
    )


def hopeless(cfg: TimeBudgetConfig) -> Hopeless:
    """How validations are judged."""
    return Hopeless(
        cfg.best_checkpoint_metric,
        cfg.early_stop_loss,
        (cfg.early_stop_minutes or 0.0) * MINUTE,
        cfg.maximize_best_checkpoint_metric,
    )


def low_loss_scale(cfg: TimeBudgetConfig) -> LowLossScale:
    """How fp16's loss scale is judged."""
    return LowLossScale(max(cfg.early_stop_loss_scale, cfg.threshold_loss_scale or 0.0))
