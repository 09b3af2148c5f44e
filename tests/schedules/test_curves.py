"""Each curve by hand."""

import pytest

from fairseq_kd.schedules.curves import factor


@pytest.mark.parametrize(
    ("curve", "x", "warmup", "expected"),
    [
        ("linear", 0.0, 0.1, 0.0),
        ("linear", 0.05, 0.1, 0.5),
        ("linear", 0.1, 0.1, 1.0),
        ("linear", 0.55, 0.1, 0.5),
        ("linear", 1.0, 0.1, 0.0),
        ("linear", 1.7, 0.1, 0.0),
        ("linear", 0.0, 0.0, 1.0),
        ("linear", 0.25, 0.0, 0.75),
        ("exponential", 0.05, 0.1, 0.5),
        ("exponential", 0.1, 0.1, 1.0),
        ("exponential", 0.3, 0.1, 0.5),  # one step of 0.2
        ("exponential", 0.5, 0.1, 0.25),
        ("exponential", 0.4, 0.1, 0.5**1.5),
        ("exponential", 9.0, 0.1, 0.5**4.5),
        ("constant", 0.025, 0.1, 0.25),
        ("constant", 0.1, 0.1, 1.0),
        ("constant", 1.0, 0.1, 1.0),
    ],
)
def test_factor(curve, x, warmup, expected):
    assert factor(curve, x, warmup, decay_rate=0.5, decay_step=0.2) == pytest.approx(expected)
