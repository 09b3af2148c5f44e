"""The benchmark of vocabulary KD compares equal losses, and stops if they differ."""

import pytest

from benchmarks import vocabulary


def test_both_variants_compute_the_same():
    found = {
        name: vocabulary.measure(tokens=12, words=50, width=8, chunk=chunk)
        for name, chunk in zip(vocabulary.VARIANTS, (5, 12), strict=True)
    }
    vocabulary.check_equal(found)
    found["at once"]["gradient"] *= 1.01
    with pytest.raises(SystemExit, match="gradient is"):
        vocabulary.check_equal(found)
