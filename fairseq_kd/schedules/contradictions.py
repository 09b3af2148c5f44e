"""Which flags of `--lr-scheduler time_budget` contradict each other, and which have no effect."""

import math
from collections.abc import Iterable

from ..unused_flags import unused
from .flags import MINUTE, TimeBudgetConfig, decay, end, updates


def problems(cfg: TimeBudgetConfig) -> list[str]:
    """Why training cannot start with these flags, one sentence each."""
    return [*_times(cfg), *_rates(cfg), *_checkpoints(cfg), *_validations(cfg), *_stops(cfg)]


def unused_flags(cfg: TimeBudgetConfig) -> list[str]:
    """Return the flags without effect, with the reason; see `fairseq_kd/unused_flags.py`."""
    updates_given = ["--total-num-update"] if cfg.total_num_update is not None else []
    decay_given = [_flag(name) for name in ("lr_decay_rate", "lr_decay_step") if cfg[name] is not None]
    return [
        *(unused(updates_given, "--lr-by time") if cfg.lr_by == "time" else ()),
        *(unused(decay_given, f"--lr-curve {cfg.lr_curve}") if cfg.lr_curve != "exponential" else ()),
    ]


def _times(cfg: TimeBudgetConfig) -> Iterable[str]:
    for name in ("total_training_time", "early_exit_time", "early_stop_minutes"):
        hours = cfg[name]
        if hours is not None and not 0 < hours < math.inf:
            yield f"{_flag(name)} {hours:g} is no time to train for: give a number above 0."
    total, early = cfg.total_training_time, cfg.early_exit_time
    if early is not None and total is None:
        yield (
            f"--early-exit-time {early:g} leaves a schedule before its end, but none was given: give "
            "--total-training-time HOURS, or that alone."
        )
    elif early is not None and early > total:
        yield f"--early-exit-time {early:g} is later than --total-training-time {total:g}: give fewer hours."


def _rates(cfg: TimeBudgetConfig) -> Iterable[str]:
    if cfg.lr_by == "time" and cfg.total_training_time is None:
        yield "--lr-by time follows a time budget and none was given: give --total-training-time HOURS, or --lr-by updates."
    if cfg.lr_by == "updates" and updates(cfg) <= 0:
        yield "--lr-by updates needs to know how many there will be: give --total-num-update, or --max-update."
    if len(cfg.lr) > 1:
        yield (
            f"--lr {','.join(map(str, cfg.lr))} is a rate for each epoch, which --lr-scheduler time_budget does not "
            "follow: give one."
        )
    if not 0 <= cfg.lr_warmup < 1:
        yield f"--lr-warmup {cfg.lr_warmup:g} is no share of the schedule: give a number from 0 to below 1."
    if cfg.lr_curve == "exponential":
        yield from _decay(cfg)


def _decay(cfg: TimeBudgetConfig) -> Iterable[str]:
    rate, step = decay(cfg)
    if not 0 < rate <= 1:
        yield f"--lr-decay-rate {rate:g} is no rate to fall by: give a number above 0, 1 at most."
    if step <= 0:
        yield f"--lr-decay-step {step:g} is no share of the schedule: give a number above 0."


def _checkpoints(cfg: TimeBudgetConfig) -> Iterable[str]:
    shares = list(cfg.finetune_checkpoint_shares)
    given = f"--finetune-checkpoint-shares {','.join(f'{share:g}' for share in shares)}"
    if shares and cfg.total_training_time is None:
        yield f"{given} are shares of a time budget and none was given: give --total-training-time HOURS."
    if any(not 0 < share < 1 for share in shares):
        yield f"{given} has a share that is not between 0 and 1: for the end there is --finetune-checkpoint-at-end."
    elif sorted(set(shares)) != shares:
        yield f"{given} do not rise: give each share once, the smallest first."
    elif shares and _exit_share(cfg) <= shares[-1] < 1:
        yield (
            f"{given} has a share that --early-exit-time {cfg.early_exit_time:g} never reaches: give shares below "
            f"{_exit_share(cfg):g}."
        )
    if cfg.no_save and (shares or cfg.finetune_checkpoint_at_end):
        flag = given if shares else "--finetune-checkpoint-at-end"
        yield f"{flag} keeps checkpoints and --no-save keeps none: give one of them."


def _validations(cfg: TimeBudgetConfig) -> Iterable[str]:
    names = ("validation_interval", "validation_begin_interval", "validation_end_interval")
    given = [name for name in names if cfg[name] is not None]
    for name in given:
        if not 0 < cfg[name] <= 1:
            yield f"{_flag(name)} {cfg[name]:g} is no share of the budget: give a number above 0, 1 at most."
    if given and cfg.total_training_time is None:
        yield f"{_flag(given[0])} is a share of a time budget and none was given: give --total-training-time HOURS."
    if given and cfg.disable_validation:
        yield f"{_flag(given[0])} asks for validations and --disable-validation for none: give one of them."

    if not 0 <= cfg.validation_begin <= cfg.validation_end <= 1:
        yield (
            f"--validation-begin {cfg.validation_begin:g} and --validation-end {cfg.validation_end:g} are no rising "
            "shares: give numbers from 0 to 1."
        )
    for name, off in (("validation_begin", 0.0), ("validation_end", 1.0)):
        if (cfg[name] != off) != (cfg[f"{name}_interval"] is not None):
            yield (
                f"{_flag(name)} and {_flag(name)}-interval say where which interval holds: give both, or neither."
            )


def _stops(cfg: TimeBudgetConfig) -> Iterable[str]:
    minutes, limit = cfg.early_stop_minutes, cfg.early_stop_loss
    if minutes is None and limit is not None:
        yield f"--early-stop-loss {limit:g} does not say when to judge: give --early-stop-minutes, too."
    if minutes is not None and limit is None:
        yield f"--early-stop-minutes {minutes:g} does not say what to judge by: give --early-stop-loss, too."
    if minutes is not None and cfg.disable_validation:
        yield "--early-stop-minutes judges validations and --disable-validation leaves none: give one of them."
    if minutes is not None and minutes * MINUTE >= end(cfg):
        yield (
            f"--early-stop-minutes {minutes:g} is not before the end of training after {end(cfg) / MINUTE:g} "
            "minutes: give fewer."
        )
    if cfg.early_stop_loss_scale < 0:
        yield f"--early-stop-loss-scale {cfg.early_stop_loss_scale:g} is no scale: give 0 or more."


def _exit_share(cfg: TimeBudgetConfig) -> float:
    if cfg.early_exit_time is None or not cfg.total_training_time:
        return 1.0
    return cfg.early_exit_time / cfg.total_training_time


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"
