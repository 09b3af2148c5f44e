"""The flags of `--lr-scheduler time_budget`, the budget that they define, and their checks."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import List, Optional  # noqa: UP035 - fairseq creates no flag for list[...]

from fairseq.dataclass import ChoiceEnum, FairseqDataclass
from omegaconf import II

from ..flags import flag, flag_name, given_flags, unused
from .timer import Budget, validation_shares

HOUR = 3600.0
MINUTE = 60.0


@dataclass
class TimeBudgetConfig(FairseqDataclass):
    """Flags of `--lr-scheduler time_budget`."""

    total_training_time: Optional[float] = flag(
        None, "hours of training; shares below are shares of this time (default: no limit)"
    )
    early_exit_time: Optional[float] = flag(
        None, "hours after which training ends, if before --total-training-time (default: that time)"
    )
    finetune_checkpoint_shares: List[float] = flag(
        [], "shares at which to keep checkpoint_shareSHARE.pt, as 0.25,0.5 (default: none)"
    )
    finetune_checkpoint_at_end: bool = flag(False, "keep checkpoint_end.pt after training (default: off)")
    lr_by: ChoiceEnum(["time", "updates"]) = flag(
        "time", "schedule follows --total-training-time or --total-num-update (default: time)"
    )
    lr_curve: ChoiceEnum(["linear", "exponential", "constant"]) = flag(
        "linear", "rate after warm-up; linear ends at 0 (default: linear)"
    )
    lr_warmup: float = flag(0.06, "share of the schedule for warm-up from 0 to --lr (default: 0.06)")
    lr_decay_rate: float = flag(
        0.5, "exponential curve: factor of the rate per --lr-decay-step (default: 0.5)"
    )
    lr_decay_step: float = flag(0.1, "exponential curve: share of the schedule per step (default: 0.1)")
    total_num_update: Optional[float] = flag(None, "updates of --lr-by updates (default: --max-update)")
    early_stop_minutes: Optional[float] = flag(
        None, "minutes after which validations must be better than --early-stop-loss (default: none)"
    )
    early_stop_loss: Optional[float] = flag(
        None,
        "training ends if the first --valid-subset's loss, or its --best-checkpoint-metric, is not better than this "
        "(default: none)",
    )
    early_stop_loss_scale: float = flag(
        1.0,
        "training ends after 100 updates with --fp16's loss scale at or below this or --threshold-loss-scale "
        "(default: 1, no unit)",
    )
    validation_interval: Optional[float] = flag(
        None, "share between two validations, each of which saves a checkpoint (default: none)"
    )
    count_validation_time: bool = flag(False, "count validations as training time (default: off)")
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
    early_stop = [] if cfg.early_stop_loss is None else [cfg.early_stop_minutes * MINUTE]
    if cfg.total_training_time is None:
        return Budget(validations=tuple(early_stop))

    total = cfg.total_training_time * HOUR
    end = total if cfg.early_exit_time is None else cfg.early_exit_time * HOUR
    shares = validation_shares(cfg.validation_interval)
    validations = tuple(sorted(early_stop + [share * total for share in shares]))
    return Budget(total, end, validations, {share * total: share for share in cfg.finetune_checkpoint_shares})


def flag_errors(cfg: TimeBudgetConfig) -> Iterator[str]:
    """Yield an error message for each flag that is missing, out of range, or in conflict with another."""
    if cfg.lr_by == "time" and cfg.total_training_time is None:
        yield "--lr-by time needs --total-training-time HOURS: add it, or use --lr-by updates."
    if cfg.lr_by == "updates" and updates(cfg) <= 0:
        yield "--lr-by updates needs the number of updates: add --total-num-update or --max-update."
    if cfg.total_training_time is None and cfg.early_exit_time is not None:
        yield f"--early-exit-time {cfg.early_exit_time:g} needs --total-training-time: add it."
    if cfg.total_training_time is None and cfg.finetune_checkpoint_shares:
        yield "--finetune-checkpoint-shares needs --total-training-time: add it."
    if cfg.early_stop_loss is not None and cfg.early_stop_minutes is None:
        yield f"--early-stop-loss {cfg.early_stop_loss:g} needs --early-stop-minutes: add it."
    if len(cfg.lr) > 1:
        yield f"--lr must be one rate with --lr-scheduler time_budget, got {','.join(map(str, cfg.lr))}."

    total, early = cfg.total_training_time, cfg.early_exit_time
    above_0, share, below_1 = "above 0", "above 0 and at most 1", "at least 0 and below 1"
    accepts = {
        above_0: lambda value: 0 < value < math.inf,
        share: lambda value: 0 < value <= 1,
        below_1: lambda value: 0 <= value < 1,
    }
    ranges = dict.fromkeys(("total_training_time", "early_exit_time", "early_stop_minutes"), above_0)
    ranges |= {"validation_interval": share, "lr_warmup": below_1}
    if cfg.lr_curve == "exponential":
        ranges |= {"lr_decay_rate": share, "lr_decay_step": above_0}
    for name, allowed in ranges.items():
        if cfg[name] is not None and not accepts[allowed](cfg[name]):
            yield f"{flag_name(name)} must be {allowed}, got {cfg[name]:g}."
    if total is not None and early is not None and early > total:
        yield f"--early-exit-time {early:g} is later than --total-training-time {total:g}: give fewer hours."
    reached = min(1.0, early / total) if total and early else 1.0
    for kept in cfg.finetune_checkpoint_shares:
        if not 0 < kept < reached:
            yield f"--finetune-checkpoint-shares must be above 0 and below {reached:g}, got {kept:g}."


def unused_flags(cfg: TimeBudgetConfig) -> list[str]:
    """Return the flags without effect, with the reason; see `warn_unused`."""
    given = given_flags(cfg, TimeBudgetConfig, without=["finetune_checkpoint_shares"])
    too_late = budget(cfg).end <= (cfg.early_stop_minutes or 0) * MINUTE
    # Whether the case applies, prefixes of the flags without effect, reason.
    cases: list[tuple[bool, str | tuple[str, ...], str]] = [
        (cfg.lr_by == "time", "--total-num-update", "--lr-by time"),
        (cfg.lr_curve != "exponential", "--lr-decay", f"--lr-curve {cfg.lr_curve}"),
        (cfg.total_training_time is None, "--validation", "no --total-training-time"),
        (cfg.early_stop_loss is None, "--early-stop-minutes", "no --early-stop-loss"),
        (too_late, "--early-stop-minutes", "training ends before"),
        (cfg.disable_validation, ("--early-stop-minutes", "--validation"), "--disable-validation"),
    ]
    return [
        entry
        for applies, prefixes, reason in cases
        if applies
        for entry in unused([flag for flag in given if flag.startswith(prefixes)], reason)
    ]
