"""The scheduler on a fake clock: its learning rate and its saved state."""

import pytest
import torch
from fairseq import optim
from omegaconf import OmegaConf

from fairseq_kd.errors import CannotStart
from fairseq_kd.schedules import TimeBudget
from fairseq_kd.schedules.time_budget import factor
from tests.schedules.test_flags import config
from tests.schedules.test_timer import FakeTime

PEAK = 1e-3


def scheduler(**options):
    adam = {"_name": "adam", "lr": [PEAK], "adam_betas": "(0.9, 0.98)", "adam_eps": 1e-6, "weight_decay": 0.0,
            "use_old_adam": False, "fp16_adam_stats": False, "tpu": False}  # fmt: skip
    optimizer = optim.build_optimizer(OmegaConf.create(adam), [torch.nn.Parameter(torch.zeros(1))])
    built = TimeBudget(config(**options), optimizer)
    time = FakeTime()
    built.timer._now = time
    return time, built


def rates(time, built, seconds):
    """Return the rate after each of these steps of time, one update each."""
    found = []
    for number, step in enumerate(seconds, start=1):
        time.seconds += step
        found.append(built.step_update(number) / PEAK)
    return found


@pytest.mark.parametrize(
    ("options", "seconds", "expected"),
    [
        ({"lr_warmup": 0.1}, [3.6, 3.6, 32.4, 32.4, 5.0], [0.5, 1, 0.5, 0, 0]),
        # By default, the exponential curve halves at each tenth.
        ({"lr_warmup": 0.0, "lr_curve": "exponential"}, [7.2, 7.2, 14.4], [0.5, 0.25, 0.5**4]),
        (
            {"lr_by": "updates", "max_update": 10, "lr_warmup": 0.2},
            [1e6] * 10,
            [0.5, 1, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125, 0],
        ),
    ],
)
def test_the_rate_follows_the_time_or_the_updates(options, seconds, expected):
    budget = {} if "lr_by" in options else {"total_training_time": 0.02}  # 72 seconds
    time, built = scheduler(**budget, **options)
    built.timer.start()
    assert rates(time, built, seconds) == pytest.approx(expected, abs=1e-9)


def test_an_early_exit_does_not_change_the_schedule():
    time, built = scheduler(total_training_time=1.0, early_exit_time=0.5, lr_warmup=0.0)
    built.timer.start()
    assert rates(time, built, [1800.0]) == pytest.approx([0.5])
    assert built.timer.over


def test_a_restored_scheduler_continues_exactly():
    time, first = scheduler(total_training_time=0.02, lr_warmup=0.0)
    first.timer.start()
    rates(time, first, [10.0, 8.0])
    first.timer.due()
    first.loop.low_updates = 7
    first.loop.last_validation = (4.5, 15.0)
    time.seconds += 2.0
    state = first.state_dict()
    assert state == {"best": None, "elapsed": 20.0, "seen": 18.0, "ended": 0.0, "low_loss_scale": 7,
                     "low_loss_scale_minimum": 1.0, "judged": (4.5, 15.0)}  # fmt: skip

    time, second = scheduler(total_training_time=0.02, lr_warmup=0.0)
    second.load_state_dict(state)
    assert second.step_update(2) == pytest.approx(PEAK * 52 / 72)
    assert (second.loop.low_updates, second.loop.last_validation) == (7, (4.5, 15.0))
    second.timer.start()
    assert rates(time, second, [16.0]) == pytest.approx([0.5])

    # Updates with a low loss scale are counted for one minimum only, the higher one of two flags.
    assert scheduler(total_training_time=0.02, threshold_loss_scale=4.0)[1].loop.lowest_loss_scale == 4.0
    _, other = scheduler(total_training_time=0.02, early_stop_loss_scale=0.5)
    other.load_state_dict(state)
    assert other.loop.low_updates == 0


def test_errors_come_before_the_first_update():
    with pytest.raises(CannotStart, match="--early-exit-time 2"):
        scheduler(total_training_time=1.0, early_exit_time=2.0)
    _, built = scheduler(total_training_time=1.0)
    with pytest.raises(CannotStart, match="another --lr-scheduler"):
        built.load_state_dict({"best": None})


@pytest.mark.parametrize(
    ("curve", "x", "warmup", "expected"),
    [
        ("linear", 0.0, 0.1, 0.0),
        ("linear", 0.05, 0.1, 0.5),
        ("linear", 0.1, 0.1, 1.0),
        ("linear", 0.55, 0.1, 0.5),
        ("linear", 1.7, 0.1, 0.0),
        ("linear", 0.25, 0.0, 0.75),
        ("exponential", 0.05, 0.1, 0.5),
        ("exponential", 0.3, 0.1, 0.5),  # one step of 0.2
        ("exponential", 0.4, 0.1, 0.5**1.5),
        ("exponential", 9.0, 0.1, 0.5**4.5),
        ("constant", 0.025, 0.1, 0.25),
        ("constant", 1.0, 0.1, 1.0),
    ],
)
def test_factor(curve, x, warmup, expected):
    assert factor(curve, x, warmup, decay_rate=0.5, decay_step=0.2) == pytest.approx(expected)
