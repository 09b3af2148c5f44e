"""The flags of `--lr-scheduler time_budget`, and the values derived from them."""

from dataclasses import dataclass, field
from typing import List, Optional  # noqa: UP035 - fairseq creates no flag for list[...]

from fairseq.dataclass import ChoiceEnum, FairseqDataclass
from omegaconf import II

from .triggers import Budget, validation_shares

HOUR = 3600.0
MINUTE = 60.0


@dataclass
class TimeBudgetConfig(FairseqDataclass):
    total_training_time: Optional[float] = field(
        default=None,
        metadata={"help": "hours of training; shares below are shares of this time (default: no limit)"},
    )
    early_exit_time: Optional[float] = field(
        default=None,
        metadata={
            "help": "hours after which training ends before --total-training-time (default: that time)"
        },
    )
    finetune_checkpoint_shares: List[float] = field(
        default_factory=list,
        metadata={
            "help": "shares at which checkpoint_shareSHARE.pt is kept, such as 0.25,0.5 (default: none)"
        },
    )
    finetune_checkpoint_at_end: bool = field(
        default=False, metadata={"help": "keep checkpoint_end.pt when training ends (default: off)"}
    )
    lr_by: ChoiceEnum(["time", "updates"]) = field(
        default="time",
        metadata={"help": "schedule follows --total-training-time or --total-num-update (default: time)"},
    )
    lr_curve: ChoiceEnum(["linear", "exponential", "constant"]) = field(
        default="linear", metadata={"help": "rate after warm-up; linear ends at 0 (default: linear)"}
    )
    lr_warmup: float = field(
        default=0.06,
        metadata={"help": "share of the schedule in which the rate rises from 0 to --lr (default: 0.06)"},
    )
    lr_decay_rate: float = field(
        default=0.5,
        metadata={
            "help": "exponential curve: factor of the rate per --lr-decay-step, no unit (default: 0.5)"
        },
    )
    lr_decay_step: float = field(
        default=0.1, metadata={"help": "exponential curve: share of the schedule per step (default: 0.1)"}
    )
    total_num_update: Optional[float] = field(
        default=None,
        metadata={"help": "updates in the schedule, with --lr-by updates (default: --max-update)"},
    )
    early_stop_minutes: Optional[float] = field(
        default=None,
        metadata={
            "help": "minutes from which validations must be better than --early-stop-loss (default: none)"
        },
    )
    early_stop_loss: Optional[float] = field(
        default=None,
        metadata={
            "help": "training ends if the first --valid-subset's loss, or its --best-checkpoint-metric, is not better "
            "than this (default: none)"
        },
    )
    early_stop_loss_scale: float = field(
        default=1.0,
        metadata={
            "help": "training ends after 100 updates with --fp16's loss scale at or below this or --threshold-loss-scale "
            "(default: 1, no unit)"
        },
    )
    validation_interval: Optional[float] = field(
        default=None,
        metadata={"help": "share between two validations, each of which saves a checkpoint (default: none)"},
    )
    validation_begin: float = field(
        default=0.0, metadata={"help": "share up to which --validation-begin-interval applies (default: 0)"}
    )
    validation_begin_interval: Optional[float] = field(
        default=None, metadata={"help": "share between validations at the beginning (default: none)"}
    )
    validation_end: float = field(
        default=1.0, metadata={"help": "share from which --validation-end-interval applies (default: 1)"}
    )
    validation_end_interval: Optional[float] = field(
        default=None, metadata={"help": "share between validations at the end (default: none)"}
    )
    count_validation_time: bool = field(
        default=False, metadata={"help": "count the time of validations as training time (default: off)"}
    )
    lr: List[float] = II("optimization.lr")
    max_update: int = II("optimization.max_update")
    best_checkpoint_metric: str = II("checkpoint.best_checkpoint_metric")
    maximize_best_checkpoint_metric: bool = II("checkpoint.maximize_best_checkpoint_metric")
    disable_validation: bool = II("dataset.disable_validation")
    threshold_loss_scale: Optional[float] = II("common.threshold_loss_scale")


def updates(cfg: TimeBudgetConfig) -> float:
    """Return the number of updates in a schedule by updates; 0 if unknown."""
    return cfg.total_num_update or cfg.max_update


def budget(cfg: TimeBudgetConfig) -> Budget:
    """Return the budget of these flags, in seconds."""
    judged = [] if cfg.early_stop_minutes is None else [cfg.early_stop_minutes * MINUTE]
    if cfg.total_training_time is None:
        return Budget(validations=tuple(judged))

    total = cfg.total_training_time * HOUR
    end = total if cfg.early_exit_time is None else cfg.early_exit_time * HOUR
    shares = validation_shares(
        cfg.validation_interval,
        cfg.validation_begin,
        cfg.validation_begin_interval,
        cfg.validation_end,
        cfg.validation_end_interval,
    )
    validations = tuple(sorted(judged + [share * total for share in shares]))
    return Budget(total, end, validations, {share * total: share for share in cfg.finetune_checkpoint_shares})
