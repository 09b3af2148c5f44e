"""Fixtures shared by all tests."""

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]


# Tests that `--quick` leaves out.
NOT_QUICK = ("gpu", "longest", "real_data", "slow")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--quick",
        action="store_true",
        help="about a minute: the first parameters of each test, and no slow or real data (default: everything)",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.get_closest_marker("longest") is None)
    if config.getoption("quick"):
        chosen = quick(items)
        config.hook.pytest_deselected(items=[item for item in items if item not in chosen])
        items[:] = chosen


def quick(items: list[pytest.Item]) -> list[pytest.Item]:
    """Return the first item of each test function that is neither slow nor needs real data."""
    first: dict[str, pytest.Item] = {}
    for item in items:
        if not any(item.get_closest_marker(name) for name in NOT_QUICK):
            first.setdefault(item.nodeid.partition("[")[0], item)
    return list(first.values())


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("gpu"):
        import torch

        if not torch.cuda.is_available():
            pytest.skip("needs a CUDA device")


@pytest.fixture(autouse=True)
def log_everything() -> Iterator[None]:
    """Scripts silence fairseq for the rest of their process, which is that of the tests after them, too."""
    yield
    logging.disable(logging.NOTSET)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Return the folder of real data sets (see the marker `real_data`); skip the test if it does not exist."""
    given = os.environ.get("FAIRSEQ_KD_DATA")
    folder = Path(given) if given else REPOSITORY.parent / "shared" / "data"

    if not folder.is_dir():
        pytest.skip(f"needs the real data sets: set FAIRSEQ_KD_DATA to their folder (there is no {folder})")
    return folder.resolve()


@pytest.fixture(scope="session")
def data(tmp_path_factory) -> Path:
    """Write tiny binarized data and return its folder."""
    from tests.tiny import write_data

    return write_data(tmp_path_factory.mktemp("data") / "TINY-bin")


@pytest.fixture(scope="session")
def teacher(tmp_path_factory) -> Path:
    """Write the checkpoint of a tiny teacher for `data` and return its path."""
    from tests.tiny import write_teacher

    return write_teacher(tmp_path_factory.mktemp("teacher") / "model.pt")


@pytest.fixture(scope="session")
def text(tmp_path_factory) -> Path:
    """Write tiny binarized running text and return its folder."""
    from tests.tiny import write_text

    return write_text(tmp_path_factory.mktemp("text") / "text")


@pytest.fixture(scope="session")
def lm_teacher(tmp_path_factory) -> Path:
    """Write the checkpoint of a tiny teacher with a masked-LM head and return its path."""
    from tests.tiny import write_teacher

    return write_teacher(tmp_path_factory.mktemp("lm_teacher") / "model.pt", classes=None, lm_head=True)
