"""What the flags come to, and which of them contradict each other."""

import math
import re

import pytest
from omegaconf import OmegaConf

from fairseq_kd.schedules import flags
from fairseq_kd.schedules.contradictions import problems, unused_flags
from fairseq_kd.schedules.flags import TimeBudgetConfig


def config(**options):
    """The scheduler's section, with what fairseq fills in from others."""
    filled = {
        "lr": [1e-3],
        "max_update": 0,
        "best_checkpoint_metric": "loss",
        "maximize_best_checkpoint_metric": False,
        "no_save": False,
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
    assert budget.share(36.0) == pytest.approx(0.5)


def test_days_are_as_exact():
    budget = flags.budget(config(total_training_time=90.0, finetune_checkpoint_shares=[0.1]))
    assert (budget.end, list(budget.checkpoints)) == (324000.0, [32400.0])


def test_without_a_budget_only_early_stopping_is_due():
    budget = flags.budget(config(early_stop_minutes=2.0))
    assert (budget.total, budget.end, budget.validations) == (None, math.inf, (120.0,))


def test_stopping_rules_are_those_of_the_flags():
    rule = flags.hopeless(config(early_stop_minutes=2.0, early_stop_loss=6.0))
    assert (rule.metric, rule.limit, rule.after, rule.maximize) == ("loss", 6.0, 120.0, False)
    assert flags.low_loss_scale(config()).minimum == 1.0
    assert flags.low_loss_scale(config(threshold_loss_scale=4.0)).minimum == 4.0
    assert flags.low_loss_scale(config(early_stop_loss_scale=0.0)).minimum == 0.0


TIME = {"total_training_time": 1.0}
EXPONENTIAL = {"lr_curve": "exponential"}


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({}, "--lr-by time follows a time budget and none was given: give --total-training-time"),
        ({"lr_by": "updates"}, "--lr-by updates needs to know how many .* --total-num-update, or --max-update"),
        ({"total_training_time": 0.0}, "--total-training-time 0 is no time to train for"),
        ({"total_training_time": math.nan}, "--total-training-time nan is no time"),
        ({"total_training_time": -1.0, "early_exit_time": -2.0}, "--early-exit-time -2 is no time"),
        (
            {"early_exit_time": 1.0, "lr_by": "updates", "max_update": 9},
            "--early-exit-time 1 leaves a schedule",
        ),
        (TIME | {"early_exit_time": 2.0}, "--early-exit-time 2 is later than --total-training-time 1"),
        (TIME | {"lr": [1e-3, 1e-4]}, "--lr 0.001,0.0001 is a rate for each epoch"),
        (TIME | {"lr_warmup": 1.0}, "--lr-warmup 1 is no share .* from 0 to below 1"),
        (TIME | EXPONENTIAL | {"lr_decay_rate": 0.0}, "--lr-decay-rate 0 is no rate"),
        (TIME | EXPONENTIAL | {"lr_decay_step": 0.0}, "--lr-decay-step 0 is no share"),
        (TIME | {"finetune_checkpoint_shares": [0.5, 0.25]}, "--finetune-checkpoint-shares 0.5,0.25 do not rise"),
        (TIME | {"finetune_checkpoint_shares": [0.5, 0.5]}, "do not rise: give each share once"),
        (TIME | {"finetune_checkpoint_shares": [0.5, 1.0]}, "not between 0 and 1: .* --finetune-checkpoint-at-end"),
        (
            TIME | {"finetune_checkpoint_shares": [0.5], "early_exit_time": 0.5},
            "--early-exit-time 0.5 never reaches: give shares below 0.5",
        ),
        (
            {"finetune_checkpoint_shares": [0.5], "lr_by": "updates", "max_update": 9},
            "--finetune-checkpoint-shares 0.5 are shares of a time budget and none was given",
        ),
        (TIME | {"finetune_checkpoint_at_end": True, "no_save": True}, "--finetune-checkpoint-at-end .* --no-save"),
        (TIME | {"validation_interval": 0.0}, "--validation-interval 0 is no share"),
        (
            TIME | {"validation_interval": 0.1, "disable_validation": True},
            "--validation-interval .* --disable-validation",
        ),
        ({"validation_interval": 0.1, "lr_by": "updates", "max_update": 9}, "--validation-interval is a share"),
        (
            TIME | {"validation_begin": 0.6, "validation_begin_interval": 0.1}
            | {"validation_end": 0.5, "validation_end_interval": 0.1},
            "--validation-begin 0.6 and --validation-end 0.5 are no rising shares",
        ),
        (TIME | {"validation_begin": 0.1}, "--validation-begin and --validation-begin-interval .* give both"),
        (TIME | {"validation_end_interval": 0.1}, "--validation-end and --validation-end-interval .* give both"),
        (TIME | {"early_stop_loss": 6.0}, "--early-stop-loss 6 does not say when to judge: .*minutes"),
        (TIME | {"early_stop_minutes": 6.0}, "--early-stop-minutes 6 does not say what to judge by: .*loss"),
        (
            TIME | {"early_stop_minutes": 60.0, "early_stop_loss": 6.0},
            "--early-stop-minutes 60 is not before the end of training after 60 minutes",
        ),
        (
            TIME | {"early_stop_minutes": 6.0, "early_stop_loss": 6.0, "disable_validation": True},
            "--early-stop-minutes judges validations and --disable-validation leaves none",
        ),
        (TIME | {"early_stop_loss_scale": -1.0}, "--early-stop-loss-scale -1 is no scale"),
    ],
)  # fmt: skip
def test_contradictions_are_said_in_a_sentence(options, sentence):
    found = problems(config(**options))
    assert len(found) == (2 if options.get("total_training_time") == -1.0 else 1)
    assert re.search(sentence, found[-1])


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
            {"lr_curve": "constant", "lr_decay_rate": 0.5, "lr_decay_step": 0.1},
            ["--lr-decay-rate, --lr-decay-step (--lr-curve constant)"],
        ),
        ({"total_num_update": 9}, ["--total-num-update (--lr-by time)"]),
    ],
)
def test_flags_without_effect_are_listed_not_refused(options, listed):
    assert unused_flags(config(**TIME, **options)) == listed
    assert problems(config(**TIME, **options)) == []
