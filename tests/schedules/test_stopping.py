"""Each rule gives up when it should, and not before."""

import math

import pytest

from fairseq_kd.schedules.stopping import Hopeless, LowLossScale


@pytest.mark.parametrize(
    ("value", "minutes", "stops"),
    [(7.0, 2.9, False), (7.0, 3.0, True), (6.0, 3.0, True), (5.99, 3.0, False), (7.0, 50.0, True)],
)
def test_a_loss_must_be_below_its_limit_in_time(value, minutes, stops):
    rule = Hopeless("loss", limit=6.0, after=180.0)
    reason = rule.reason(value, minutes * 60)
    assert (reason is not None) == stops
    if stops:
        assert f"loss is {value:g} after {minutes:.1f} minutes" in reason
        assert "should be below 6 after 3" in reason


def test_a_score_must_be_above_it():
    rule = Hopeless("accuracy", limit=60.0, after=0.0, maximize=True)
    assert rule.reason(60.5, 1.0) is None
    assert "should be above 60" in rule.reason(60.0, 1.0)


def test_nan_stops_at_once_without_any_limit():
    assert "not a number" in Hopeless().reason(math.nan, 0.0)
    assert Hopeless().reason(1e9, 1e9) is None


def test_a_loss_scale_may_be_low_for_less_than_a_hundred_updates():
    rule = LowLossScale(1.0)
    assert [rule.reason(1.0) for _ in range(99)] == [None] * 99
    assert rule.reason(2.0) is None
    assert [rule.reason(0.5) for _ in range(99)] == [None] * 99
    assert "1 or less for 100 updates" in rule.reason(1.0)


def test_without_a_scale_nothing_is_counted():
    rule = LowLossScale(1.0)
    assert [rule.reason(None) for _ in range(200)] == [None] * 200
