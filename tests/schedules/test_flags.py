"""Flags of the time budget: their values in seconds, and flags that are refused or have no effect."""

import math
import re

import pytest
from omegaconf import OmegaConf

from fairseq_kd.schedules import flags
from fairseq_kd.schedules.flags import TimeBudgetConfig, flag_errors, unused_flags


def config(**options):
    """Return the scheduler's section, with the values that fairseq fills in from others."""
    filled = {"lr": [1e-3], "max_update": 0, "best_checkpoint_metric": "loss", "disable_validation": False,
              "maximize_best_checkpoint_metric": False, "threshold_loss_scale": None}  # fmt: skip
    return OmegaConf.merge(OmegaConf.structured(TimeBudgetConfig), filled | options)


EARLY_STOP = {"early_stop_minutes": 0.1, "early_stop_loss": 6.0}


def test_hours_and_shares_are_converted_to_seconds():
    shares = {"finetune_checkpoint_shares": [0.25, 0.5], "validation_interval": 0.5}
    budget = flags.budget(config(total_training_time=0.02, early_exit_time=0.015, **shares, **EARLY_STOP))
    assert (budget.total, budget.end) == pytest.approx((72.0, 54.0))
    assert budget.validations == pytest.approx((6.0, 36.0))
    assert list(budget.checkpoints) == pytest.approx([18.0, 36.0])
    assert list(budget.checkpoints.values()) == [0.25, 0.5]

    budget = flags.budget(config(total_training_time=90.0, finetune_checkpoint_shares=[0.1]))
    assert (budget.end, list(budget.checkpoints)) == (324000.0, [32400.0])
    budget = flags.budget(config(**EARLY_STOP))
    assert (budget.total, budget.end, budget.validations) == (None, math.inf, (6.0,))


TIME = {"total_training_time": 1.0}
UPDATES = {"lr_by": "updates", "max_update": 9}
EXPONENTIAL = {"lr_curve": "exponential"}
NO_VALIDATION = {"disable_validation": True}


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({}, "--lr-by time .*--total-training-time"),
        ({"lr_by": "updates"}, "--lr-by updates .*--total-num-update or --max-update"),
        ({"total_training_time": 0.0}, "--total-training-time .*got 0"),
        ({"total_training_time": math.nan}, "--total-training-time .*got nan"),
        (TIME | {"early_exit_time": 2.0}, "--early-exit-time 2 .*--total-training-time 1"),
        (UPDATES | {"early_exit_time": 2.0}, "--early-exit-time 2 needs --total-training-time"),
        (UPDATES | {"finetune_checkpoint_shares": [0.5]}, "--finetune-checkpoint-shares needs --total-"),
        (TIME | {"lr": [1e-3, 1e-4]}, "--lr .*got 0.001,0.0001"),
        (TIME | {"lr_warmup": 1.0}, "--lr-warmup .*got 1"),
        (TIME | EXPONENTIAL | {"lr_decay_rate": 0.0}, "--lr-decay-rate .*got 0"),
        (TIME | EXPONENTIAL | {"lr_decay_step": 0.0}, "--lr-decay-step .*got 0"),
        (TIME | {"finetune_checkpoint_shares": [0.5, 1.0]}, "--finetune-checkpoint-shares .*below 1, got 1"),
        (
            TIME | {"finetune_checkpoint_shares": [0.5], "early_exit_time": 0.5},
            "-shares .* below 0.5, got 0.5",
        ),
        (TIME | {"validation_interval": 0.0}, "--validation-interval .*got 0"),
        (TIME | {"early_stop_loss": 6.0}, "--early-stop-loss 6 needs --early-stop-minutes"),
    ],
)
def test_invalid_flags_are_refused(options, found):
    [error] = flag_errors(config(**options))
    assert re.search(found, error)


@pytest.mark.parametrize(
    ("options", "listed"),
    [
        (TIME | {"early_exit_time": 1.0}, []),
        ({"lr_by": "updates", "total_num_update": 9}, []),
        (TIME | EXPONENTIAL | {"lr_decay_rate": 0.9, "lr_decay_step": 0.2}, []),
        (TIME | {"finetune_checkpoint_shares": [0.1, 0.9], "finetune_checkpoint_at_end": True}, []),
        (TIME | EARLY_STOP, []),
        (TIME | {"lr_decay_rate": 7.0}, ["--lr-decay-rate (--lr-curve linear)"]),
        (TIME | {"total_num_update": 9}, ["--total-num-update (--lr-by time)"]),
        (
            TIME | NO_VALIDATION | {"validation_interval": 0.1},
            ["--validation-interval (--disable-validation)"],
        ),
        (TIME | EARLY_STOP | {"early_stop_minutes": 60.0}, ["--early-stop-minutes (training ends before)"]),
        (TIME | {"early_stop_minutes": 6.0}, ["--early-stop-minutes (no --early-stop-loss)"]),
        (UPDATES | {"validation_interval": 0.1}, ["--validation-interval (no --total-training-time)"]),
    ],
)
def test_flags_without_effect_are_listed(options, listed):
    assert unused_flags(config(**options)) == listed
    assert list(flag_errors(config(**options))) == []
