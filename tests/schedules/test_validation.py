"""The budget of the flags, and flags that are refused before training."""

import math
import re

import pytest
from omegaconf import OmegaConf

from fairseq_kd.schedules import flags
from fairseq_kd.schedules.flags import TimeBudgetConfig
from fairseq_kd.schedules.validation import problems, unused_flags


def config(**options):
    """The scheduler's section, with what fairseq fills in from others."""
    filled = {
        "lr": [1e-3],
        "max_update": 0,
        "best_checkpoint_metric": "loss",
        "maximize_best_checkpoint_metric": False,
        "disable_validation": False,
        "threshold_loss_scale": None,
    }
    return OmegaConf.merge(OmegaConf.structured(TimeBudgetConfig), filled | options)


def test_hours_and_shares_come_to_seconds():
    budget = flags.budget(
        config(
            total_training_time=0.02,
            early_exit_time=0.015,
            finetune_checkpoint_shares=[0.25, 0.5],
            validation_interval=0.5,
            early_stop_minutes=0.1,
        )
    )
    assert (budget.total, budget.end) == pytest.approx((72.0, 54.0))
    assert budget.validations == pytest.approx((6.0, 36.0))
    assert list(budget.checkpoints) == pytest.approx([18.0, 36.0])
    assert list(budget.checkpoints.values()) == [0.25, 0.5]


def test_days_are_as_exact():
    budget = flags.budget(config(total_training_time=90.0, finetune_checkpoint_shares=[0.1]))
    assert (budget.end, list(budget.checkpoints)) == (324000.0, [32400.0])


def test_without_a_budget_only_early_stopping_is_due():
    budget = flags.budget(config(early_stop_minutes=2.0))
    assert (budget.total, budget.end, budget.validations) == (None, math.inf, (120.0,))


TIME = {"total_training_time": 1.0}
UPDATES = {"lr_by": "updates", "max_update": 9}
EXPONENTIAL = {"lr_curve": "exponential"}


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({}, "--lr-by time needs --total-training-time"),
        ({"lr_by": "updates"}, "--lr-by updates needs .* --total-num-update or --max-update"),
        ({"total_training_time": 0.0}, "--total-training-time must be above 0, got 0"),
        ({"total_training_time": math.nan}, "--total-training-time must be above 0, got nan"),
        (UPDATES | {"early_exit_time": 1.0}, "--early-exit-time needs --total-training-time"),
        (TIME | {"early_exit_time": 2.0}, "--early-exit-time 2 is later than --total-training-time 1"),
        (TIME | {"lr": [1e-3, 1e-4]}, "--lr must be one rate .* got 0.001,0.0001"),
        (TIME | {"lr_warmup": 1.0}, r"--lr-warmup must be in \[0, 1\), got 1"),
        (TIME | EXPONENTIAL | {"lr_decay_rate": 0.0}, "--lr-decay-rate must be"),
        (TIME | EXPONENTIAL | {"lr_decay_step": 0.0}, "--lr-decay-step must be"),
        (TIME | {"finetune_checkpoint_shares": [0.5, 1.0]}, "--finetune-checkpoint-shares .* below 1, got 1"),
        (
            TIME | {"finetune_checkpoint_shares": [0.5], "early_exit_time": 0.5},
            "--finetune-checkpoint-shares .* below 0.5, got 0.5",
        ),
        (UPDATES | {"finetune_checkpoint_shares": [0.5]}, "--finetune-checkpoint-shares needs --total-training-time"),
        (TIME | {"validation_interval": 0.0}, "--validation-interval must be"),
        (UPDATES | {"validation_interval": 0.1}, "--validation-interval needs --total-training-time"),
        (
            TIME | {"validation_begin": 0.6, "validation_begin_interval": 0.1}
            | {"validation_end": 0.5, "validation_end_interval": 0.1},
            "--validation-begin must be .*, got 0.6",
        ),
        (TIME | {"validation_begin": 0.1}, "--validation-begin needs --validation-begin-interval"),
        (TIME | {"validation_end_interval": 0.1}, "--validation-end-interval needs --validation-end"),
        (TIME | {"early_stop_loss": 6.0}, "--early-stop-loss needs --early-stop-minutes"),
        (TIME | {"early_stop_minutes": 6.0}, "--early-stop-minutes needs --early-stop-loss"),
    ],
)  # fmt: skip
def test_wrong_flags_are_refused(options, sentence):
    [found] = problems(config(**options))
    assert re.search(sentence, found)


@pytest.mark.parametrize(
    "options",
    [
        TIME,
        TIME | {"early_exit_time": 1.0},
        TIME | {"lr_by": "updates", "max_update": 9},
        {"lr_by": "updates", "total_num_update": 9},
        TIME | EXPONENTIAL | {"lr_decay_rate": 0.9, "lr_decay_step": 0.2},
        TIME | {"finetune_checkpoint_shares": [0.1, 0.9], "finetune_checkpoint_at_end": True},
        TIME | {"validation_interval": 0.1, "validation_begin": 0.1, "validation_begin_interval": 0.01},
        TIME | {"early_stop_minutes": 6.0, "early_stop_loss": 6.0},
    ],
)
def test_what_can_be_meant_is_accepted(options):
    assert problems(config(**options)) == []
    assert unused_flags(config(**options)) == []


@pytest.mark.parametrize(
    ("options", "listed"),
    [
        ({"lr_decay_rate": 7.0}, ["--lr-decay-rate (--lr-curve linear)"]),
        (
            {"lr_curve": "constant", "lr_decay_rate": 0.4, "lr_decay_step": 0.2},
            ["--lr-decay-rate, --lr-decay-step (--lr-curve constant)"],
        ),
        ({"total_num_update": 9}, ["--total-num-update (--lr-by time)"]),
        (
            {"validation_interval": 0.1, "disable_validation": True},
            ["--validation-interval (--disable-validation)"],
        ),
        (
            {"early_stop_minutes": 60.0, "early_stop_loss": 6.0},
            ["--early-stop-minutes (training ends before)"],
        ),
    ],
)
def test_flags_without_effect_are_listed_not_refused(options, listed):
    assert unused_flags(config(**TIME, **options)) == listed
    assert problems(config(**TIME, **options)) == []
