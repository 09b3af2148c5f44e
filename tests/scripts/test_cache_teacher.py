"""What is stored beforehand is what a training reads."""

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from fairseq_kd.errors import CannotStart
from fairseq_kd.teachers import LiveTeacher
from scripts.cache_teacher import main
from tests.stored import check_stored
from tests.tiny import ROOT, build, run, train_command, train_here, write_teacher, write_text

HSK = ("--criterion", "hsk", "--hsk-keep", "2l_4t_0.5h", "--init-layers", "0,3")


def sums(cache: Path) -> dict[str, np.ndarray]:
    return {str(path.relative_to(cache)): np.fromfile(path, np.uint32) for path in cache.rglob("*.sums")}


def forbid_live(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("the teacher was loaded")

    monkeypatch.setattr(LiveTeacher, "__init__", refuse)


def test_a_training_finds_all_it_needs(data, teacher, tmp_path, monkeypatch, capsys):
    given = [str(data), "--teacher", str(teacher), "--teacher-cache", str(tmp_path / "cache"), *HSK]
    assert main(["--cpu", "--", *given]) == 0
    assert "104 rows to write" in capsys.readouterr().out
    written = sums(tmp_path / "cache")
    assert len(written) == 6
    assert all(each.all() for each in written.values())

    forbid_live(monkeypatch)
    assert main(["--cpu", "--", *given]) == 0
    assert "0 rows to write\n0 rows written" in capsys.readouterr().out
    rows = train_here(train_command(data, tmp_path / "run", *given[1:]))
    assert [name for name, _ in rows].count("valid") == 1

    # Nor is its file needed.
    without = [*given[3:], "--init-from", str(teacher)]
    train_here(train_command(data, tmp_path / "without", *without))


def test_it_goes_on_from_what_is_there(data, teacher, tmp_path, capsys):
    given = [str(data), "--teacher", str(teacher), "--teacher-cache", str(tmp_path), *HSK]
    main(["--cpu", "--", *given])
    before = sums(tmp_path)
    path = tmp_path / "train" / "logits.fp16.sums"
    np.memmap(path, np.uint32, mode="r+")[:20] = 0

    main(["--cpu", "--", *given])
    assert "10 rows to write\n10 rows written" in capsys.readouterr().out
    after = sums(tmp_path)
    assert all((after[name] != 0).all() for name in before)


@pytest.mark.slow
def test_two_workers_and_every_shard(tmp_path):
    shards = [write_text(tmp_path / f"shard{number}", seed=number) for number in range(2)]
    teacher = write_teacher(tmp_path / "model.pt", classes=None, lm_head=True)
    given = [
        ":".join(map(str, shards)),
        "--task",
        "masked_lm_kd",
        "--frozen-masking",
        "--tokens-per-sample",
        "24",
    ]
    given += ["--teacher", str(teacher), "--teacher-cache", str(tmp_path / "cache"), "--init-layers", "0,3"]
    script = [sys.executable, str(ROOT / "scripts" / "cache_teacher.py"), "--workers", "2", "--cpu", "--"]
    done = run([*script, *given])
    assert done.returncode == 0, done.stderr[-3000:]
    written = sums(tmp_path / "cache")
    assert sorted(written) == [f"{name}/masked.fp16.sums" for name in ("train.0", "train.1", "valid.0")]

    text = {"frozen_masking": True, "tokens_per_sample": 24}
    for shard, splits in zip(shards, (["train", "valid"], ["train"]), strict=True):
        live, _, _ = build(shard, teacher, "kd", task=text, task_name="masked_lm_kd")
        places = {"data": ":".join(map(str, shards)), "teacher_cache": str(tmp_path / "cache")}
        task, _, _ = build(
            shard, None, "kd", task=text | places, task_name="masked_lm_kd", model={"init_from": str(teacher)}
        )
        for split in splits:
            task.load_dataset(split, epoch=1 + shards.index(shard))
            check_stored(task, live, split)


@pytest.mark.parametrize(
    ("flags", "problem"),
    [
        (["--teacher", "T"], r"there is no --teacher-cache behind --: give the folder"),
        (
            ["--teacher", "T", "--teacher-cache", "C", "--soft-weight", "0"],
            r"--criterion kd .* asks a teacher for nothing",
        ),
        (["--teacher", "T", "--teacher-cache", "C", *HSK, "--hsk-keep", "x"], r"--hsk-keep x does not say"),
    ],
)
def test_what_cannot_be_stored_is_refused(data, teacher, tmp_path, flags, problem):
    places = {"T": str(teacher), "C": str(tmp_path)}
    with pytest.raises(CannotStart, match=problem):
        main(["--cpu", "--", str(data), *(places.get(flag, flag) for flag in flags)])


def test_no_room_is_said_before_anything_is_written(data, teacher, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(CannotStart, match=r"--teacher-cache \S+ needs .* 1000 bytes are free: make room"):
        main(["--cpu", "--", str(data), "--teacher", str(teacher), "--teacher-cache", str(tmp_path), *HSK])


def test_without_a_training_there_is_nothing_to_store(capsys):
    with pytest.raises(SystemExit):
        main(["--workers", "2"])
    assert "Cannot start: there is no training: give its flags after --" in capsys.readouterr().err
