"""Checks of the flags of `--lr-scheduler time_budget` before training."""

import math
from collections.abc import Iterator

from ..unused_flags import given_flags, unused
from .flags import MINUTE, TimeBudgetConfig, budget, updates

# A flag, and those that would be ignored without it.
NEEDED_BY = {
    "--total-training-time": ["--early-exit-time", "--finetune-checkpoint-shares", "--validation-interval",
                              "--validation-begin-interval", "--validation-end-interval"],
    "--validation-begin": ["--validation-begin-interval"],
    "--validation-begin-interval": ["--validation-begin"],
    "--validation-end": ["--validation-end-interval"],
    "--validation-end-interval": ["--validation-end"],
    "--early-stop-minutes": ["--early-stop-loss"],
    "--early-stop-loss": ["--early-stop-minutes"],
}  # fmt: skip


def problems(cfg: TimeBudgetConfig) -> list[str]:
    """Return why training cannot start with these flags, one sentence each."""
    given = _given(cfg)
    found = [
        f"{flag} needs {needed}: add it, or remove {flag}."
        for needed, flags in NEEDED_BY.items()
        for flag in flags
        if flag in given and needed not in given
    ]
    if cfg.lr_by == "time" and cfg.total_training_time is None:
        found.append("--lr-by time needs --total-training-time HOURS: add it, or use --lr-by updates.")
    if cfg.lr_by == "updates" and updates(cfg) <= 0:
        found.append("--lr-by updates needs the number of updates: add --total-num-update or --max-update.")
    if len(cfg.lr) > 1:
        found.append(
            f"--lr must be one rate with --lr-scheduler time_budget, got {','.join(map(str, cfg.lr))}."
        )
    return [*found, *_out_of_range(cfg)]


def _out_of_range(cfg: TimeBudgetConfig) -> Iterator[str]:
    total, early = cfg.total_training_time, cfg.early_exit_time
    times = ["total_training_time", "early_exit_time", "early_stop_minutes"]
    intervals = ["validation_interval", "validation_begin_interval", "validation_end_interval"]
    if cfg.lr_curve == "exponential":
        intervals.append("lr_decay_rate")
        times.append("lr_decay_step")
    allowed = {name: ("above 0", lambda value: 0 < value < math.inf) for name in times}
    allowed |= {name: ("in (0, 1]", lambda value: 0 < value <= 1) for name in intervals}
    allowed["lr_warmup"] = ("in [0, 1)", lambda value: 0 <= value < 1)
    allowed["validation_begin"] = ("in [0, --validation-end]", lambda value: 0 <= value <= cfg.validation_end)
    allowed["validation_end"] = ("in [0, 1]", lambda value: 0 <= value <= 1)
    for name, (description, accepts) in allowed.items():
        if cfg[name] is not None and not accepts(cfg[name]):
            yield f"--{name.replace('_', '-')} must be {description}, got {cfg[name]:g}."

    if total is not None and early is not None and early > total:
        yield f"--early-exit-time {early:g} is later than --total-training-time {total:g}: give fewer hours."
    reached = min(1.0, early / total) if total and early else 1.0
    for share in cfg.finetune_checkpoint_shares:
        if not 0 < share < reached:
            yield f"--finetune-checkpoint-shares must be above 0 and below {reached:g}, got {share:g}."


def unused_flags(cfg: TimeBudgetConfig) -> list[str]:
    """Return the flags without effect, with the reason; see `fairseq_kd/unused_flags.py`."""

    def entry(condition: bool, prefix: str, reason: str) -> list[str]:
        return unused([flag for flag in _given(cfg) if flag.startswith(prefix)], reason) if condition else []

    too_late = budget(cfg).end <= (cfg.early_stop_minutes or 0) * MINUTE
    return [
        *entry(cfg.lr_by == "time", "--total-num-update", "--lr-by time"),
        *entry(cfg.lr_curve != "exponential", "--lr-decay", f"--lr-curve {cfg.lr_curve}"),
        *entry(too_late, "--early-stop-minutes", "training ends before"),
        *entry(cfg.disable_validation, "--early-stop-minutes", "--disable-validation"),
        *entry(cfg.disable_validation, "--validation", "--disable-validation"),
    ]


def _given(cfg: TimeBudgetConfig) -> list[str]:
    shares = ["--finetune-checkpoint-shares"] if cfg.finetune_checkpoint_shares else []
    return given_flags(cfg, TimeBudgetConfig, without=["finetune_checkpoint_shares"]) + shares
