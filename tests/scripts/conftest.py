"""Trained runs for the tests of scripts that evaluate, and models in Hugging Face's format."""

from tests.convert.conftest import save_model  # noqa: F401
from tests.evaluation.conftest import regression, three_classes, train  # noqa: F401
