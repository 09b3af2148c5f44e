"""The clock counts what it should, and goes on where it stopped."""

import pytest

from fairseq_kd.schedules.clock import Clock


class FakeTime:
    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


def test_counts_from_the_start_but_not_in_a_pause():
    time = FakeTime()
    clock = Clock(time)
    time.seconds += 5
    assert clock.elapsed == 0
    clock.start()
    time.seconds += 7
    assert clock.elapsed == 7
    with clock.paused():
        time.seconds += 100
        assert clock.elapsed == 7
    time.seconds += 3
    clock.start()
    assert clock.elapsed == 10


def test_a_pause_ends_with_an_error_too_and_starts_nothing():
    time = FakeTime()
    clock = Clock(time)
    with clock.paused():
        pass
    assert not clock.running
    clock.start()
    with pytest.raises(KeyError), clock.paused():
        raise KeyError
    time.seconds += 2
    assert clock.elapsed == 2


@pytest.mark.parametrize("running", [False, True])
def test_goes_on_from_a_given_time(running):
    time = FakeTime()
    clock = Clock(time)
    if running:
        clock.start()
        time.seconds += 50
    clock.set(42.5)
    assert clock.elapsed == 42.5
    clock.start()
    time.seconds += 1
    assert clock.elapsed == 43.5
