"""The number of updates of a run, for its schedule and the display of progress."""

from dataclasses import replace
from pathlib import Path

import pytest

from launcher.datasets import Data
from launcher.planning.job import Job

DATA = Data(Path("d"), 160, "accuracy", ("valid",), "d", splits={"train": 160, "unlabelled": 80})


@pytest.mark.parametrize(
    ("overrides", "sentences", "updates"),
    [
        ({}, 160, 20),  # two epochs of ten batches of sixteen
        ({}, 161, 22),
        ({}, 170, 24),  # ten batches of sixteen, one of eight, one of two
        ({}, 168, 22),
        ({"--required-batch-size-multiple": "1"}, 170, 22),
        ({"--update-freq": "2"}, 170, 12),
        ({"--max-update": "7"}, 160, 7),
        ({"--unlabelled-subset": "unlabelled"}, 160, 30),
        ({"--max-update": "100", "--update-freq": "4"}, 160, 6),
    ],
)
def test_updates_of_a_run_follow_from_its_data_and_flags(spec, overrides, sentences, updates):
    data = replace(DATA, sentences=sentences)
    run = replace(spec, epochs=2, overrides=overrides)
    assert Job(run, Path("r"), data, "fairseq-train", True, Path("t.pt")).updates == updates
