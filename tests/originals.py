"""Where the numbers recorded from the original implementations are."""

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]


def golden_file(name: str) -> Path:
    """Return the file of one recorded case; skip the test, naming the case, if it does not exist.

    Those that every clone needs are in tests/golden, those that repeat what others show only beside the real
    data sets (see the fixture `real_data`).
    """
    given = os.environ.get("FAIRSEQ_KD_DATA")
    data = Path(given) if given else REPOSITORY.parent / "shared" / "data"
    for folder in (REPOSITORY / "tests" / "golden", data.resolve().parent / "golden"):
        if (folder / f"{name}.npz").is_file():
            return folder / f"{name}.npz"
    pytest.skip(f"needs the recorded numbers {name}.npz, beside the real data sets (FAIRSEQ_KD_DATA)")
