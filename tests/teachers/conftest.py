from pathlib import Path

import pytest

from tests.tiny import write_data, write_teacher


@pytest.fixture(scope="package")
def data(tmp_path_factory) -> Path:
    return write_data(tmp_path_factory.mktemp("data") / "TINY-bin")


@pytest.fixture(scope="package")
def teacher(tmp_path_factory) -> Path:
    return write_teacher(tmp_path_factory.mktemp("teacher") / "model.pt")
