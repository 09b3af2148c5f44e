"""Marks by hand."""

import pytest

from fairseq_kd.schedules.marks import passed, validation_shares


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
