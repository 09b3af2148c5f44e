"""A cache that is filled before training has all signals that the training reads."""

import multiprocessing
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from fairseq_kd.errors import CannotStart
from fairseq_kd.teachers import LiveTeacher
from fairseq_kd.teachers.cached import CachedTeacher
from scripts import cache_teacher
from scripts.cache_teacher import main
from tests.processes import Process, run, wait_until
from tests.stored import check_stored
from tests.tiny import ROOT, build, train_command, train_here, write_data, write_teacher, write_text

pytestmark = pytest.mark.slow

SCRIPT = ("python", str(ROOT / "scripts" / "cache_teacher.py"))
HSK = ("--criterion", "hsk", "--hsk-keep", "2l_4t_0.5h", "--init-layers", "0,3")
WORDS = ("--task", "masked_lm_kd", "--frozen-masking", "--tokens-per-sample", "24", "--init-layers", "0,3")


def flags(data: Path | str, teacher: Path, cache: Path, more=HSK) -> list[str]:
    return [str(data), "--teacher", str(teacher), "--teacher-cache", str(cache), *more]


@pytest.fixture(scope="module")
def many(tmp_path_factory) -> Path:
    """Return data that takes a second to cache in batches of one sentence."""
    return write_data(tmp_path_factory.mktemp("many") / "data", sentences=[("train", 1500), ("valid", 10)])


@pytest.fixture(scope="module")
def text(tmp_path_factory) -> tuple[list[Path], Path]:
    """Return two shards of text, and a teacher of words."""
    folder = tmp_path_factory.mktemp("text")
    shards = [write_text(folder / f"shard{number}", seed=number) for number in range(2)]
    return shards, write_teacher(folder / "model.pt", classes=None, lm_head=True)


def sums(cache: Path) -> dict[str, np.ndarray]:
    return {str(path.relative_to(cache)): np.fromfile(path, np.uint32) for path in cache.rglob("*.sums")}


# The command as a program whose workers are forked.
FORKED = f"""import sys
sys.path.insert(0, {str(ROOT)!r})
from scripts import cache_teacher
cache_teacher.START = "fork"
sys.exit(cache_teacher.main(sys.argv[1:]))
"""


@pytest.fixture
def forked(monkeypatch):
    """Start workers as forks of this process, because new processes import torch and fairseq again."""
    monkeypatch.setattr(cache_teacher, "START", "fork")


def forbid_live(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("the teacher was loaded")

    monkeypatch.setattr(LiveTeacher, "__init__", refuse)


@pytest.mark.parametrize(
    ("splits", "more", "rows"),
    [
        ({"train": 64, "valid": 40}, (), {"train": 64, "valid": 40}),
        ({"train": 16, "valid": 10, "valid1": 6}, ("--combine-valid-subsets",), {"train": 16, "valid": 16}),
    ],
)
def test_a_training_finds_all_it_needs(teacher, tmp_path, monkeypatch, capsys, splits, more, rows):
    data = write_data(tmp_path / "data", sentences=[*splits.items()])
    given = flags(data, teacher, tmp_path / "cache", (*HSK, *more))
    assert main(["--cpu", "--", *given]) == 0
    assert f"{sum(rows.values())} rows to write" in capsys.readouterr().out
    written = sums(tmp_path / "cache")
    assert len(written) == 6
    assert all(each.all() for each in written.values())
    assert {name.split("/")[0]: len(each) for name, each in written.items()} == rows

    forbid_live(monkeypatch)
    assert main(["--cpu", "--", *given]) == 0
    assert "0 rows to write\n0 rows written" in capsys.readouterr().out
    logged = train_here(train_command(data, tmp_path / "run", *given[1:]))
    assert [name for name, _ in logged].count("valid") == 1


def test_a_dry_run_prints_sizes_and_writes_nothing(data, teacher, tmp_path, monkeypatch, capsys):
    cache = tmp_path / "not" / "yet"
    given = ["--cpu", "--", *flags(data, teacher, cache)]
    before = sorted(tmp_path.rglob("*"))
    with monkeypatch.context() as patched:
        forbid_live(patched)
        assert main(["--dry-run", *given]) == 0
    assert sorted(tmp_path.rglob("*")) == before
    *each, total = capsys.readouterr().out.splitlines()

    assert main(given) == 0
    sizes = dict.fromkeys(("train", "valid"), 0)
    for path in [*cache.rglob("*.bin"), *cache.rglob("*.sums")]:
        sizes[path.parent.name] += path.stat().st_size
    assert each == [f"  {split}: {size:,} bytes" for split, size in sizes.items()]
    assert total.startswith(f"{sum(sizes.values()):,} bytes required (")
    assert main(["--dry-run", *given]) == 0
    assert "  train: 0 bytes\n  valid: 0 bytes\n0 bytes required (0 bytes), " in capsys.readouterr().out


def test_a_dry_run_counts_the_head_of_a_teacher_of_words_and_all_shards(text, tmp_path, capsys):
    shards, teacher = text
    cache = tmp_path / "cache"
    given = ["--cpu", "--", *flags(":".join(map(str, shards)), teacher, cache, WORDS)]
    assert main(["--dry-run", *given]) == 0
    printed = dict(line.split(": ") for line in capsys.readouterr().out.splitlines()[:-1])
    assert list(printed) == ["  train.0", "  train.1", "  valid.0", "  lm_head"]
    assert main(given) == 0
    head = torch.load(cache / "lm_head.pt", weights_only=True)
    assert printed["  lm_head"] == f"{sum(value.nbytes for value in head.values()):,} bytes"


def test_a_second_call_writes_only_missing_and_damaged_rows(data, teacher, tmp_path, capsys):
    given = flags(data, teacher, tmp_path)
    main(["--cpu", "--", *given])
    before = sums(tmp_path)
    path = tmp_path / "train" / "logits.fp16.sums"
    np.memmap(path, np.uint32, mode="r+")[:10] = 0
    # And a row that the disk damaged: its logits, 2 numbers in fp16.
    np.memmap(path.with_suffix(".bin"), np.uint32, mode="r+")[40] ^= 1

    main(["--cpu", "--", *given])
    assert "11 rows to write\n11 rows written" in capsys.readouterr().out
    after = sums(tmp_path)
    assert all((after[name] != 0).all() for name in before)


def test_two_workers_and_every_shard(text, tmp_path):
    shards, teacher = text
    places = ":".join(map(str, shards))
    given = flags(places, teacher, tmp_path / "cache", WORDS)
    done = run([*SCRIPT, "--workers", "2", "--cpu", "--", *given])
    assert done.returncode == 0, done.stderr[-3000:]
    written = sums(tmp_path / "cache")
    assert sorted(written) == [f"{name}/masked.fp16.sums" for name in ("train.0", "train.1", "valid.0")]

    how = {"frozen_masking": True, "tokens_per_sample": 24}
    cached = how | {"data": places, "teacher_cache": str(tmp_path / "cache")}
    start = {"init_from": str(teacher)}
    for shard, splits in zip(shards, (["train", "valid"], ["train"]), strict=True):
        live, _, _ = build(shard, teacher, "kd", task=how, task_name="masked_lm_kd")
        task, _, _ = build(shard, None, "kd", task=cached, task_name="masked_lm_kd", model=start)
        for split in splits:
            task.load_dataset(split, epoch=1 + shards.index(shard))
            check_stored(task, live, split)


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ("--teacher T", "--teacher-cache is missing"),
        ("--teacher-cache C", "--teacher is missing"),
        ("--teacher T --teacher-cache C --soft-weight 0", "--criterion kd .*uses no teacher"),
        (f"--teacher T --teacher-cache C {' '.join(HSK)} --max-tokens 9", "--max-tokens 9 .*train"),
    ],
)
def test_flags_that_store_nothing_are_refused(data, teacher, tmp_path, given, problem):
    places = {"T": str(teacher), "C": str(tmp_path)}
    with pytest.raises(CannotStart, match=problem):
        main(["--cpu", "--", str(data), *(places.get(flag, flag) for flag in given.split())])


@pytest.mark.parametrize(
    ("more", "sentences", "tokens"),
    [([], 32, None), (["--max-sentences", "5"], 5, None), (["--max-tokens", "90"], None, 90)],
)
def test_batches_have_the_given_size(data, teacher, tmp_path, monkeypatch, more, sentences, tokens):
    asked = []

    def store(_, sample):
        asked.append(sample["net_input"]["src_tokens"].shape)

    monkeypatch.setattr(CachedTeacher, "store", store)
    main(["--cpu", "--", *flags(data, teacher, tmp_path, (*HSK, *more))])
    assert sum(size for size, _ in asked) == 104
    if sentences is not None:
        assert max(size for size, _ in asked) == sentences
    if tokens is not None:
        assert max(size * longest for size, longest in asked) <= tokens
        assert max(size for size, _ in asked) > 1


def test_an_error_of_a_worker_ends_the_command(data, teacher, tmp_path, capfd, forked):
    state = torch.load(teacher, weights_only=True)
    state["model"]["classification_heads.sentence_classification_head.out_proj.bias"] += 1e6
    torch.save(state, tmp_path / "model.pt")
    given = flags(data, tmp_path / "model.pt", tmp_path / "cache")
    with pytest.raises(SystemExit, match="Cannot cache logits: --cache-precision fp16"):
        main(["--workers", "2", "--cpu", "--", *given])
    printed = capfd.readouterr()
    assert "rows written" not in printed.out
    assert "Traceback" not in printed.err


def test_a_killed_worker_is_an_error(many, teacher, tmp_path, capsys, forked):
    given = flags(many, teacher, tmp_path / "cache")

    def kill():
        wait_until(lambda: any(each.any() for each in sums(tmp_path).values()))
        multiprocessing.active_children()[0].kill()

    with ThreadPoolExecutor(1) as killer:
        killed = killer.submit(kill)
        assert main(["--workers", "2", "--cpu", "--", *given, "--batch-size", "1"]) == 1
        killed.result()
    printed = capsys.readouterr()
    assert "Cannot continue: --workers: a process was killed" in printed.err
    assert "rows written" not in printed.out


def test_an_interruption_is_reported(data, teacher, tmp_path, monkeypatch, capsys):
    given = ["--cpu", "--", *flags(data, teacher, tmp_path)]
    with monkeypatch.context() as patched:
        patched.setattr(CachedTeacher, "store", lambda *_: os.kill(os.getpid(), signal.SIGTERM))
        assert main(given) == 130
    assert capsys.readouterr().err.startswith("Interrupted:")
    assert main(given) == 0


def test_ctrl_c_ends_all_workers_and_the_same_command_continues(many, teacher, tmp_path):
    given = flags(many, teacher, tmp_path / "cache")
    (tmp_path / "forked.py").write_text(FORKED)
    command = ["python", tmp_path / "forked.py", "--workers", "2", "--cpu", "--", *given, "--batch-size", "1"]

    def written():
        return sum(np.count_nonzero(np.fromfile(path, np.uint32)) for path in tmp_path.rglob("*.sums"))

    storing = Process(command)
    wait_until(lambda: written() > 50 or storing.poll() is not None)
    os.killpg(storing.pid, signal.SIGINT)  # to all processes, as from a terminal
    assert storing.wait(60) == 130, storing.stderr
    errors = storing.stderr
    assert errors.splitlines()[-1].startswith("Interrupted:")
    assert "Traceback" not in errors
    wait_until(lambda: not _group_exists(storing.pid))
    assert 50 < written() < 3 * 1510
    assert main(["--cpu", "--", *given]) == 0
    assert written() == 3 * 1510


def test_without_a_training_there_is_nothing_to_store(capsys):
    with pytest.raises(SystemExit):
        main(["--workers", "2"])
    assert "flags of the training are missing" in capsys.readouterr().err


def _group_exists(number: int) -> bool:
    try:
        os.killpg(number, 0)
    except ProcessLookupError:
        return False
    return True
