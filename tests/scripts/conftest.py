"""Trained runs for the tests of scripts that evaluate."""

from tests.evaluation.conftest import regression, three_classes, train  # noqa: F401
