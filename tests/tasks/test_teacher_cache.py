"""Whole runs that write and read a teacher's signals."""

import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from fairseq_kd.errors import CannotStart
from fairseq_kd.tasks.sentence_prediction_kd import SentencePredictionKDTask
from fairseq_kd.teachers import LiveTeacher
from tests.processes import Process, torchrun
from tests.stored import check_stored
from tests.tiny import build, train_command, train_here, write_data

KEEP = {"hsk_keep": "2l_4t_0.5h"}
HSK = ("--criterion", "hsk", "--hsk-keep", KEEP["hsk_keep"], "--init-layers", "0,3")


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return torch.load(folder / "checkpoint_last.pt", weights_only=True)["model"]


def losses(rows, tag="train_inner"):
    name_of = {"valid": "valid_loss"}.get(tag, "loss")
    return [values[name_of] for name, values in rows if name == tag]


@pytest.mark.slow
def test_a_run_from_the_cache_is_the_run_with_the_teacher(data, teacher, tmp_path, monkeypatch):
    def command(name, *flags):
        given = ("--teacher", str(teacher), *HSK, "--max-epoch", "2", *flags)
        return train_command(data, tmp_path / name, *given)

    live = train_here(command("live"))
    cache = ("--teacher-cache", str(tmp_path / "cache"), "--cache-precision")
    writing = train_here(command("writing", *cache, "fp32"))

    def refuse(*_, **__):
        raise AssertionError("the teacher was loaded")

    monkeypatch.setattr(LiveTeacher, "__init__", refuse)
    reading = train_here(command("reading", *cache, "fp32", "--num-workers", "2"))

    for tag in ("train_inner", "valid"):
        assert len(losses(live, tag)) == len(losses(reading, tag)) > 0
        assert_close(losses(writing, tag), losses(live, tag), rtol=2e-3, atol=2e-3)
        assert_close(losses(reading, tag), losses(live, tag), rtol=2e-3, atol=2e-3)
    for name, value in weights(tmp_path / "reading").items():
        assert_close(value, weights(tmp_path / "live")[name], rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_a_run_without_room_for_all_its_splits_takes_none_before_it_trains(
    data, teacher, tmp_path, monkeypatch
):
    free = shutil.disk_usage(tmp_path)._replace(free=500)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: free)
    monkeypatch.setattr(SentencePredictionKDTask, "train_step", lambda *_, **__: pytest.fail("it trained"))
    flags = ("--teacher", str(teacher), "--teacher-cache", str(tmp_path / "cache"), "--criterion", "kd")
    with pytest.raises(CannotStart, match=r"needs 832 bytes \(valid 320 bytes, train 512 bytes\) for logits"):
        train_here(train_command(data, tmp_path / "run", *flags, "--init-layers", "0,3"))
    assert sorted(path.name for path in (tmp_path / "cache").iterdir()) == ["cache.json", "lock"]


@pytest.mark.slow
def test_a_run_learns_the_same_whatever_is_stored_already(data, teacher, tmp_path):
    """Nothing, all, or what a run left that was killed at update 5 and goes on from its checkpoint of update 3."""

    def train(name, cache, *flags):
        given = (
            "--teacher",
            str(teacher),
            *HSK,
            "--teacher-cache",
            str(tmp_path / cache),
            "--max-epoch",
            "2",
        )
        train_here(train_command(data, tmp_path / name, *given, *flags))
        return tmp_path / name

    cold = weights(train("cold", "cache"))
    warm = weights(train("warm", "cache"))
    killed = train("killed", "other", "--max-update", "5", "--save-interval-updates", "3")
    (killed / "checkpoint_1_3.pt").replace(killed / "checkpoint_last.pt")
    resumed = weights(train("killed", "other"))
    for name, value in cold.items():
        assert torch.equal(warm[name], value), name
        assert torch.equal(resumed[name], value), name


def two_workers(command: list[str]):
    """Has torchrun start a `train_command` twice."""
    distributed = ["--ddp-backend", "legacy_ddp", "--distributed-backend", "gloo"]
    return torchrun([*command, *distributed])


@pytest.mark.slow
def test_two_workers_write_one_cache(data, teacher, tmp_path):
    flags = ("--teacher", str(teacher), *HSK, "--teacher-cache", str(tmp_path / "cache"), "--max-epoch", "1")
    done = two_workers(train_command(data, tmp_path / "run", *flags))
    assert done.returncode == 0, done.stderr[-3000:]
    live, _, _ = build(data, teacher, "hsk", **KEEP)
    stored = {"task": {"teacher_cache": str(tmp_path / "cache")}, "model": {"init_from": str(teacher)}}
    task, _, _ = build(data, None, "hsk", **stored, **KEEP)
    assert len(task.teacher.codecs) == 3
    for split in ("train", "valid"):
        check_stored(task, live, split)

    # The first of them finds a damaged row, and both end.
    np.memmap(tmp_path / "cache" / "train" / "logits.fp16.bin", np.uint8, mode="r+")[0] ^= 1
    without = (*flags[2:], "--init-from", str(teacher))
    done = two_workers(train_command(data, tmp_path / "without", *without))
    assert done.returncode == 1
    assert done.stderr.count("Cannot start: ") == 1
    assert "has damaged rows of train, 1 of 64: give --teacher" in done.stderr
    assert not (tmp_path / "without" / "checkpoint_last.pt").exists()


@pytest.mark.slow
def test_a_killed_writer_leaves_what_the_next_one_goes_on_from(teacher, tmp_path):
    data = write_data(tmp_path / "data", sentences=[("train", 1500), ("valid", 10)])
    cache = tmp_path / "cache"
    flags = ("--teacher", str(teacher), *HSK, "--teacher-cache", str(cache), "--cache-precision", "fp32")
    first = train_command(data, tmp_path / "killed", *flags)
    training = Process(first)
    for _ in range(2400):
        sums = [np.fromfile(path, np.uint32) for path in (cache / "train").glob("*.sums")]
        written = min((np.count_nonzero(each) for each in sums), default=0)
        if written > 200 or training.poll() is not None:
            break
        time.sleep(0.05)
    training.send_signal(signal.SIGKILL)
    assert training.wait() == -signal.SIGKILL
    assert 200 < written < 1500

    small = ("--max-update", "30", "--max-epoch", "1")
    after = losses(train_here(train_command(data, tmp_path / "after", *flags, *small)))
    live = losses(train_here(train_command(data, tmp_path / "live", *flags[:-4], *small)))
    assert len(after) == 30
    assert after == pytest.approx(live, rel=2e-3)
