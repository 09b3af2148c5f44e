"""The timer on a fake clock: what it counts and what it triggers, across restarts."""

import pytest

from fairseq_kd.schedules.triggers import Budget, Due, Timer, passed, validation_shares


class FakeTime:
    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


BUDGET = Budget(total=72.0, end=54.0, validations=(10.0, 20.0, 30.0), checkpoints={18.0: 0.25, 36.0: 0.5})


def timer_at(seconds: float, state=None):
    time = FakeTime()
    timer = Timer(BUDGET, time)
    if state is not None:
        timer.load_state_dict(state)
    timer.start()
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
    timer = Timer(Budget(), time)
    timer.start()
    assert after(time, timer, 1e9) == Due(False, [], False)
    assert timer.share is None


def test_time_does_not_pass_before_training():
    time = FakeTime()
    timer = Timer(BUDGET, time)
    assert after(time, timer, 100.0) == Due(False, [], False)


def test_counts_from_the_start_but_not_in_a_pause():
    time = FakeTime()
    timer = Timer(Budget(), time)
    time.seconds += 5
    assert timer.counted == 0
    timer.start()
    time.seconds += 7
    assert timer.counted == 7
    with timer.paused():
        time.seconds += 100
        assert timer.counted == 7
    time.seconds += 3
    timer.start()
    assert timer.counted == 10


def test_a_pause_ends_with_an_error_too_and_starts_nothing():
    time = FakeTime()
    timer = Timer(Budget(), time)
    with timer.paused():
        pass
    assert not timer.running
    timer.start()
    with pytest.raises(KeyError), timer.paused():
        raise KeyError
    time.seconds += 2
    assert timer.counted == 2


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
    ("given", "shares"),
    [
        ({"interval": None}, []),
        ({"interval": 0.25}, [0.25, 0.5, 0.75]),
        ({"interval": 0.1}, [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]),
        ({"interval": 0.4}, [0.4, 0.8]),
        ({"interval": 1.0}, []),
        ({"interval": 0.4, "begin": 0.2, "begin_interval": 0.1}, [0.1, 0.2, 0.6]),
        ({"interval": 0.4, "end": 0.8, "end_interval": 0.05}, [0.4, 0.8, 0.85, 0.9, 0.95]),
        ({"interval": None, "begin": 0.1, "begin_interval": 0.05}, [0.05, 0.1]),
        (
            {"interval": 0.3, "begin": 0.1, "begin_interval": 0.05, "end": 0.9, "end_interval": 0.04},
            [0.05, 0.1, 0.4, 0.7, 0.94, 0.98],
        ),
    ],
)
def test_validation_shares(given, shares):
    assert validation_shares(**given) == pytest.approx(shares)


def test_a_mark_is_passed_once():
    marks = [1.0, 2.0, 3.0]
    readings = [0.0, 0.5, 1.0, 1.0, 2.9, 3.5, 9.0]
    found = [passed(marks, a, b) for a, b in zip(readings, readings[1:], strict=False)]
    assert found == [[], [1.0], [], [2.0], [3.0], []]
    assert passed(marks, 0.0, 2.0) == [1.0, 2.0]
