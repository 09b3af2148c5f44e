from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fairseq.data.data_utils import batch_by_size

from launcher.datasets import Data
from launcher.planning.job import Job, batches_of_an_epoch
from launcher.results.outcome import Outcome
from launcher.results.progress import Pace, Progress, in_words, seconds_left, seconds_per_update, updates_done

# One hundred updates of 16 sentences in ten epochs.
DATA = Data(Path("d"), 160, "accuracy", ("valid",), "d")
SST, RTE = ("SST-2", "kd", "one", 32), ("RTE", "kd", "one", 16)


@pytest.mark.parametrize(
    ("flags", "sentences", "updates"),
    [
        ((), 160, 20),  # two epochs of ten batches of sixteen
        ((), 161, 22),
        ((), 170, 24),  # ten batches of sixteen, one of eight, one of two
        ((), 168, 22),
        (("--required-batch-size-multiple", "1"), 170, 22),
        (("--update-freq", "2"), 170, 12),
        (("--update-freq", "2"), 160, 10),
        (("--max-update", "7"), 160, 7),
        (("--max-update=7",), 160, 7),
        (("--max-update", "100", "--update-freq=4"), 160, 6),
    ],
)
def test_updates_are_counted_from_flags(spec, flags, sentences, updates):
    data = Data(Path("d"), sentences, "accuracy", ("valid",), "d")
    run = replace(spec, epochs=2, flags=flags)
    assert Job(run, Path("r"), data, "fairseq-train", True, Path("t.pt")).updates == updates


@pytest.mark.parametrize("multiple", [1, 4, 8])
@pytest.mark.parametrize("batch_size", [1, 6, 8, 12, 16])
@pytest.mark.parametrize("sentences", [1, 7, 8, 23, 24, 26, 47, 100])
def test_batches_of_an_epoch_are_those_that_fairseq_makes(sentences, batch_size, multiple):
    made = batch_by_size(
        np.arange(sentences),
        None,
        num_tokens_vec=np.ones(sentences, dtype=np.int64),
        max_sentences=batch_size,
        required_batch_size_multiple=multiple,
    )
    assert batches_of_an_epoch(sentences, batch_size, multiple) == len(made)


@pytest.mark.parametrize(
    ("log", "done"),
    [
        ("", 0),
        ("no numbers", 0),
        ('{"num_updates": "100"}\n{"train_num_updates": "125", "wall": "3"}\nSaved', 125),
        ('{"valid_num_updates": "50"}\n{"num_updates": "1', 50),
    ],
)
def test_updates_done_are_the_last_that_the_log_tells(tmp_path, log, done):
    (tmp_path / "log.txt").write_text("x" * 20_000 + log)
    assert updates_done(tmp_path / "log.txt") == done
    assert updates_done(tmp_path / "none.txt") == 0


def test_a_pace_is_that_of_the_same_kind_or_else_of_any():
    paces = [Pace(SST, 10.0, 5), Pace(SST, 20.0, 5), Pace(RTE, 1.0, 2), Pace(RTE, 9.0, 0)]
    assert seconds_per_update(SST, paces) == 3.0
    assert seconds_per_update(RTE, paces) == 0.5
    assert seconds_per_update(("RTE", "kd", "one", 32), paces) == 31 / 12
    assert seconds_per_update(SST, [Pace(SST, 9.0, 0)]) is None


@pytest.mark.parametrize(
    ("running", "to_come", "slots", "left"),
    [
        ([], [], 1, 0),
        ([10.0], [5.0, 5.0], 1, 20),
        ([10.0, 2.0], [5.0, 5.0], 2, 12),  # 2 + 5 + 5 beside 10
        ([10.0], [5.0], 3, 10),
        ([None], [5.0], 1, None),
        ([1.0], [None], 1, None),
    ],
)
def test_time_left_is_that_of_the_slot_that_ends_last(running, to_come, slots, left):
    assert seconds_left(running, to_come, slots) == left


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s"), (89.4, "89 s"), (90, "2 min"), (3540, "59 min"), (3599, "1 h 00 min"), (11100, "3 h 05 min"),
     (None, "unknown")],
)  # fmt: skip
def test_a_time_is_told_in_words(seconds, words):
    assert in_words(seconds) == words


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def job(spec, folder: Path, seed: int) -> Job:
    run = replace(spec, seed=seed)
    (folder / run.name).mkdir()
    return Job(run, folder / run.name, DATA, "fairseq-train", True, folder / "model.pt")


def log(job: Job, updates: int) -> None:
    (job.folder / "log.txt").write_text(f'{{"num_updates": "{updates}"}}')


def test_a_grid_is_estimated_from_what_was_watched(spec, tmp_path):
    first, second, third = (job(spec, tmp_path, seed) for seed in (1, 2, 3))
    clock = Clock()
    progress = Progress([first, second, third], slots=1, clock=clock)
    assert progress.snapshot().left is None

    progress.start(first)
    log(first, 20)
    clock.now += 40  # 2 s an update, 80 to go, and 200 in the other two
    now = progress.snapshot()
    assert (now.running[0].done, now.running[0].left, now.left) == (20, 160, 160 + 2 * 200)

    progress.end(first, Outcome({"seconds": 300.0}))
    progress.start(second)  # nothing logged yet: as long as the first took
    now = progress.snapshot()
    assert (now.running[0].left, now.left, now.ended, now.failed) == (300, 600, 1, 0)

    progress.end(second, Outcome(None, "exit status 1"))
    progress.end(third, Outcome({"seconds": 1.0}, skipped=True))
    now = progress.snapshot()
    assert (now.running, now.ended, now.failed, now.held, now.left) == ([], 3, 1, 0, 0)


def test_a_run_that_another_launcher_has_is_no_failure(spec, tmp_path):
    run = job(spec, tmp_path, 1)
    progress = Progress([run], slots=1)
    progress.end(run, Outcome(None, "another launcher has it", skipped=True))
    now = progress.snapshot()
    assert (now.ended, now.failed, now.held) == (1, 0, 1)


def test_what_was_done_before_an_interruption_is_of_no_pace(spec, tmp_path):
    run = job(spec, tmp_path, 1)
    log(run, 60)
    (run.folder / "checkpoint_last.pt").touch()
    clock = Clock()
    progress = Progress([run], slots=1, clock=clock)
    progress.start(run)
    log(run, 70)
    clock.now += 5
    assert progress.snapshot().left == 15  # half a second for each of 30


def test_the_log_of_a_try_without_a_checkpoint_does_not_count(spec, tmp_path):
    run = job(spec, tmp_path, 1)
    log(run, 60)
    clock = Clock()
    progress = Progress([run], slots=1, clock=clock)
    progress.start(run)
    log(run, 10)
    clock.now += 5
    assert progress.snapshot().left == 45
