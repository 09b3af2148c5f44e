import pytest

from launcher.pruning import DEPTH_FIRST, TOGETHER, WIDTH_FIRST, Size, schedule

START, END = Size(12, 12, 3072, 768), Size(6, 2, 768, 128)


def table(sizes):
    return [(size.layers, size.heads, size.ffn, size.rank) for size in sizes]


@pytest.mark.parametrize(
    ("steps", "order", "expected"),
    [
        (1, TOGETHER, [(6, 2, 768, 128)]),
        (2, TOGETHER, [(9, 7, 1920, 448), (6, 2, 768, 128)]),
        (2, WIDTH_FIRST, [(12, 7, 1920, 448), (12, 2, 768, 128), (9, 2, 768, 128), (6, 2, 768, 128)]),
        (1, DEPTH_FIRST, [(6, 12, 3072, 768), (6, 2, 768, 128)]),
    ],
)
def test_the_sizes_on_the_way(steps, order, expected):
    assert table(schedule(START, END, steps, order)) == expected


def test_sizes_that_repeat_are_one_step():
    assert table(schedule(Size(3, 2, 8, 4), Size(2, 2, 8, 4), 4, TOGETHER)) == [(2, 2, 8, 4)]
    assert table(schedule(START, Size(6, 12, 3072, 768), 1, WIDTH_FIRST)) == [(6, 12, 3072, 768)]
    assert schedule(START, START, 3, TOGETHER) == []
