"""Whole runs that write and read a teacher's signals."""

import shutil
import signal
import time

import numpy as np
import pytest

from fairseq_kd.errors import CannotStart
from fairseq_kd.tasks.sentence_prediction_kd import SentencePredictionKDTask
from fairseq_kd.teachers import LiveTeacher
from tests.processes import Process, torchrun
from tests.runs import check_same_weights, losses, train_by_two_workers, values_of
from tests.stored import check_stored
from tests.tiny import build, distil_command, train_command, train_here, write_data

KEEP = {"hsk_keep": "2l_4t_0.5h"}
HSK = "--hsk-keep 2l_4t_0.5h"


@pytest.mark.slow
def test_a_run_from_the_cache_is_the_run_with_the_teacher(data, teacher, tmp_path, monkeypatch):
    def train(name, *flags):
        return train_here(distil_command(data, tmp_path / name, teacher, "hsk", HSK, "--max-epoch 2", *flags))

    live = train("live")
    cache = ("--teacher-cache", str(tmp_path / "cache"), "--cache-precision fp32")
    writing = train("writing", *cache)
    monkeypatch.setattr(LiveTeacher, "__init__", lambda *_, **__: pytest.fail("the teacher was loaded"))
    reading = train("reading", *cache, "--num-workers 2")

    for tag, name in (("train_inner", "loss"), ("valid", "valid_loss")):
        expected = [values[name] for values in values_of(live, tag)]
        for rows in (writing, reading):
            found = [values[name] for values in values_of(rows, tag)]
            assert found == pytest.approx(expected, rel=2e-3, abs=2e-3)
            assert found
    check_same_weights(tmp_path / "reading", tmp_path / "live", rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_a_run_without_disk_space_for_all_splits_takes_none(data, teacher, tmp_path, monkeypatch):
    free = shutil.disk_usage(tmp_path)._replace(free=500)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: free)
    monkeypatch.setattr(SentencePredictionKDTask, "train_step", lambda *_, **__: pytest.fail("it trained"))
    command = distil_command(
        data, tmp_path / "run", teacher, "kd", "--teacher-cache", str(tmp_path / "cache")
    )
    with pytest.raises(CannotStart, match=r"needs 832 bytes \(valid 320 bytes, train 512 bytes\) for logits"):
        train_here(command)
    assert sorted(path.name for path in (tmp_path / "cache").iterdir()) == ["cache.json", "lock"]


@pytest.mark.slow
def test_a_run_learns_the_same_whatever_is_stored_already(data, teacher, tmp_path):
    """Nothing, all, or what a run left that was killed at update 5 and goes on from its checkpoint of update 3."""

    def train(name, cache, *flags):
        given = (HSK, "--teacher-cache", str(tmp_path / cache), "--max-epoch 2", *flags)
        train_here(distil_command(data, tmp_path / name, teacher, "hsk", *given))

    train("cold", "cache")
    train("warm", "cache")
    train("killed", "other", "--max-update 5 --save-interval-updates 3")
    (tmp_path / "killed" / "checkpoint_1_3.pt").replace(tmp_path / "killed" / "checkpoint_last.pt")
    train("killed", "other")
    for name in ("warm", "killed"):
        check_same_weights(tmp_path / name, tmp_path / "cold")


@pytest.mark.slow
def test_two_workers_write_one_cache(data, teacher, tmp_path):
    cache = ("--teacher-cache", str(tmp_path / "cache"))
    train_by_two_workers(distil_command(data, tmp_path / "run", teacher, "hsk", HSK, *cache))
    live, _, _ = build(data, teacher, "hsk", **KEEP)
    stored = {"task": {"teacher_cache": str(tmp_path / "cache")}, "model": {"init_from": str(teacher)}}
    task, _, _ = build(data, None, "hsk", **stored, **KEEP)
    assert len(task.teacher.codecs) == 3
    for split in ("train", "valid"):
        check_stored(task, live, split)

    # The first of them finds a damaged row, and both end.
    np.memmap(tmp_path / "cache" / "train" / "logits.fp16.bin", np.uint8, mode="r+")[0] ^= 1
    flags = ("--criterion hsk --init-layers 0,3", "--init-from", str(teacher), HSK, *cache)
    command = train_command(data, tmp_path / "without", *flags)
    done = torchrun([*command, "--ddp-backend", "legacy_ddp", "--distributed-backend", "gloo"])
    assert done.returncode == 1
    assert done.stderr.count("Cannot start: ") == 1
    assert "has damaged rows of train, 1 of 64: give --teacher" in done.stderr
    assert not (tmp_path / "without" / "checkpoint_last.pt").exists()


@pytest.mark.slow
def test_a_run_continues_the_cache_of_a_killed_writer(teacher, tmp_path):
    data = write_data(tmp_path / "data", sentences=[("train", 1500), ("valid", 10)])
    cache = ("--teacher-cache", str(tmp_path / "cache"), "--cache-precision fp32")
    training = Process(distil_command(data, tmp_path / "killed", teacher, "hsk", HSK, *cache))
    for _ in range(2400):
        sums = [np.fromfile(path, np.uint32) for path in (tmp_path / "cache" / "train").glob("*.sums")]
        written = min((np.count_nonzero(each) for each in sums), default=0)
        if written > 200 or training.poll() is not None:
            break
        time.sleep(0.05)
    training.send_signal(signal.SIGKILL)
    assert training.wait() == -signal.SIGKILL
    assert 200 < written < 1500

    after, live = (
        losses(
            train_here(distil_command(data, tmp_path / name, teacher, "hsk", HSK, "--max-update 30", *flags))
        )
        for name, flags in (("after", cache), ("live", ()))
    )
    assert len(after) == 30
    assert after == pytest.approx(live, rel=2e-3)
