"""The timer on a fake clock: what it counts and what it triggers, across restarts."""

from contextlib import suppress

import pytest

from fairseq_kd.schedules.timer import Budget, Due, Timer, validation_shares


class FakeTime:
    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


BUDGET = Budget(total=72.0, end=54.0, validations=(10.0, 20.0, 30.0), checkpoints={18.0: 0.25, 36.0: 0.5})


def timer_at(state=None, budget=BUDGET):
    time = FakeTime()
    timer = Timer(budget, time)
    if state is not None:
        timer.load_state_dict(state)
    timer.start()
    return time, timer


def after(time, timer, seconds: float) -> Due:
    time.seconds += seconds
    timer.read()
    return timer.due()


def test_each_action_is_due_once():
    time, timer = timer_at()
    assert after(time, timer, 9.9) == Due(False, [], False)
    assert after(time, timer, 0.2) == Due(True, [], False)
    assert after(time, timer, 0.0) == Due(False, [], False)
    assert after(time, timer, 28.0) == Due(True, [0.25, 0.5], False)  # one slow update
    assert timer.share == pytest.approx(38.1 / 72)
    assert after(time, timer, 15.9) == Due(False, [], True)
    assert timer.elapsed == 54.0


def test_a_restart_counts_the_used_time_and_repeats_no_action():
    time, timer = timer_at()
    assert after(time, timer, 19.0) == Due(True, [0.25], False)
    time.seconds += 1.5  # until the checkpoint is written
    time, resumed = timer_at(timer.state_dict())
    assert resumed.elapsed == 20.5
    # The validation at 20.0 was not done when the checkpoint was written.
    assert after(time, resumed, 0.5) == Due(True, [], False)
    assert after(time, resumed, 14.9) == Due(True, [], False)
    assert after(time, resumed, 0.1) == Due(False, [0.5], False)


def test_a_run_has_ended_if_the_end_of_this_budget_was_recorded():
    _, timer = timer_at({"elapsed": 54.0, "seen": 54.0, "ended": 0.0})
    assert timer.over
    assert not timer.ended
    timer.end()
    assert timer_at(timer.state_dict())[1].ended
    assert not timer_at({"elapsed": 30.0, "seen": 30.0, "ended": 30.0})[1].ended


def test_nothing_is_due_without_a_budget_or_before_training():
    time, timer = timer_at(budget=Budget())
    assert after(time, timer, 1e9) == Due(False, [], False)
    assert timer.share is None
    time = FakeTime()
    assert after(time, Timer(BUDGET, time), 100.0) == Due(False, [], False)


def test_time_counts_from_the_start_but_not_in_a_pause():
    time = FakeTime()
    timer = Timer(Budget(), time)
    with timer.paused():
        time.seconds += 5
    assert (timer.counted, timer.running) == (0, False)
    timer.start()
    time.seconds += 7
    with suppress(KeyError), timer.paused():
        time.seconds += 100
        assert timer.counted == 7
        raise KeyError
    time.seconds += 3
    timer.start()
    assert timer.counted == 10


@pytest.mark.parametrize("running", [False, True])
def test_a_restored_timer_continues(running):
    time = FakeTime()
    timer = Timer(Budget(), time)
    if running:
        timer.start()
        time.seconds += 50
    timer.load_state_dict({"elapsed": 42.5, "seen": 42.5, "ended": 0.0})
    assert timer.counted == 42.5
    timer.start()
    time.seconds += 1
    assert timer.counted == 43.5


@pytest.mark.parametrize(
    ("interval", "shares"),
    [(None, []), (0.1, [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]), (0.4, [0.4, 0.8]), (1.0, [])],
)
def test_validation_shares(interval, shares):
    assert validation_shares(interval) == pytest.approx(shares)
