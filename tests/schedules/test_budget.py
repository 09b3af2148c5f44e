"""What is due by a fake clock, across restarts."""

import pytest

from fairseq_kd.schedules.budget import Budget, Due, Timer
from fairseq_kd.schedules.clock import Clock
from tests.schedules.test_clock import FakeTime

BUDGET = Budget(total=72.0, end=54.0, validations=(10.0, 20.0, 30.0), checkpoints={18.0: 0.25, 36.0: 0.5})


def timer_at(seconds: float, state=None):
    time = FakeTime()
    timer = Timer(BUDGET, Clock(time))
    if state is not None:
        timer.load_state_dict(state)
    timer.clock.start()
    return time, timer


def after(time, timer, seconds: float) -> Due:
    time.seconds += seconds
    timer.read()
    return timer.due()


def test_each_thing_is_due_once():
    time, timer = timer_at(0)
    assert after(time, timer, 9.9) == Due(False, [], False)
    assert after(time, timer, 0.2) == Due(True, [], False)
    assert after(time, timer, 0.0) == Due(False, [], False)
    assert after(time, timer, 28.0) == Due(True, [0.25, 0.5], False)  # one slow update
    assert timer.share == pytest.approx(38.1 / 72)
    assert after(time, timer, 15.9) == Due(False, [], True)
    assert timer.elapsed == 54.0


def test_a_restart_counts_the_time_used_and_passes_no_mark_twice():
    time, timer = timer_at(0)
    assert after(time, timer, 19.0) == Due(True, [0.25], False)
    time.seconds += 1.5  # until the checkpoint is written
    state = timer.state_dict()

    time, resumed = timer_at(0, state)
    assert resumed.elapsed == 20.5
    # 20.0 was not yet dealt with when the checkpoint was written.
    assert after(time, resumed, 0.5) == Due(True, [], False)
    assert after(time, resumed, 14.9) == Due(True, [], False)
    assert after(time, resumed, 0.1) == Due(False, [0.5], False)


def test_a_run_whose_time_is_up_says_so_at_once_and_whether_it_ended():
    _, timer = timer_at(0, {"elapsed": 54.0, "seen": 54.0, "ended": 0.0})
    assert timer.over
    assert not timer.ended
    timer.end()
    assert timer_at(0, timer.state_dict())[1].ended


def test_the_end_of_a_shorter_budget_is_not_that_of_this_one():
    _, timer = timer_at(0, {"elapsed": 30.0, "seen": 30.0, "ended": 30.0})
    assert not timer.ended


def test_without_a_budget_nothing_is_ever_due():
    time = FakeTime()
    timer = Timer(Budget(), Clock(time))
    timer.clock.start()
    assert after(time, timer, 1e9) == Due(False, [], False)
    assert timer.share is None


def test_time_does_not_pass_before_training():
    time = FakeTime()
    timer = Timer(BUDGET, Clock(time))
    assert after(time, timer, 100.0) == Due(False, [], False)
