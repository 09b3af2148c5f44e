from types import SimpleNamespace

import pytest

from fairseq_compat.wrap import is_ours, wrap


def test_a_wrapper_gets_the_original_and_has_its_name():
    def double(number: int) -> int:
        """Return twice the number."""
        return 2 * number

    owner = SimpleNamespace(double=double)

    @wrap(owner, "double")
    def next_number(original, number):
        return original(number) + 1

    assert owner.double is next_number
    assert (owner.double(4), owner.double.__name__, owner.double.__doc__) == (9, "double", double.__doc__)
    with pytest.raises(AttributeError):
        wrap(owner, "missing")(next_number)


@pytest.mark.parametrize(("task", "expected"), [({"dummy_batches_count": False}, True), ({}, False)])
def test_tasks_without_the_attribute_are_fairseqs(task, expected):
    assert is_ours(SimpleNamespace(**task)) == expected
