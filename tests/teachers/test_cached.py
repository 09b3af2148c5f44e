"""A cached teacher has the signals of the live one, in the stored precision, and is refused for anything else."""

import json
import os
import pickle
import shutil

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from fairseq_kd.data.cache import split_cache
from fairseq_kd.errors import CannotStart
from fairseq_kd.signals import Wanted
from fairseq_kd.teachers import LiveTeacher
from fairseq_kd.teachers.cached import CachedTeacher
from tests.data.cache.test_codecs import WANTED
from tests.stored import check_signals
from tests.tiny import batch, build, pretraining, write_teacher, write_text


def invalid_rows(task) -> list[int]:
    dataset = task.dataset("valid")
    return dataset.cached.invalid_rows(dataset).tolist()


def cached(data, teacher, folder, wanted=WANTED, splits=("valid",), task=(), criterion="kd", **options):
    """Build a task with a cached teacher that provides `wanted`."""
    given = {"teacher_cache": str(folder), "cache_precision": "fp16", **dict(task)}
    if teacher is None:
        options = {"model": {"init_from": str(options.pop("init_from"))}, **options}
    built, student, criterion = build(data, teacher, criterion, task=given, **options)
    if wanted is not None:
        identity, load, precision = (
            built.teacher.identity,
            built.teacher.load_live,
            str(built.cfg.cache_precision),
        )
        built.context.teacher = CachedTeacher(folder, identity, wanted, precision, False, load)
    for split in splits:
        built.load_dataset(split)
    built.teacher.allocate()
    return built, student, criterion


def fill(task, split="valid", size=8):
    for start in range(0, len(task.dataset(split)), size):
        rows = range(start, min(start + size, len(task.dataset(split))))
        task.teacher.signals(batch(task, rows, split), WANTED)


def forbid_live(monkeypatch):
    monkeypatch.setattr(LiveTeacher, "__init__", lambda *_, **__: pytest.fail("the teacher was loaded"))


def damage(folder, row: int = 0) -> None:
    """Change a bit of the logits of a row of `valid`."""
    np.memmap(folder / "valid" / "logits.fp16.bin", np.uint8, mode="r+")[4 * row] ^= 1


@pytest.mark.slow
def test_cached_signals_equal_those_of_the_live_teacher(data, teacher, tmp_path, monkeypatch):
    """Also of rows that are stored only now, with the bits of what is stored."""
    live, _, _ = build(data, teacher, "kd")
    task, _, _ = cached(data, teacher, tmp_path)
    rows = [3, 17, 20, 5]
    assert "cached" not in batch(task, rows)
    now = task.teacher.signals(batch(task, rows), WANTED)
    fill(task)

    forbid_live(monkeypatch)
    again, _, _ = cached(data, teacher, tmp_path)
    sample = batch(again, rows)
    assert "cached" in sample
    found = again.teacher.signals(sample, WANTED)
    check_signals(found, live.teacher.signals(batch(live, rows), WANTED), tolerance=1e-3)
    check_signals(now, found, tolerance=0)


def test_one_row_is_enough_and_all_are_equal_to_it(data, teacher, tmp_path):
    """Whatever else is in its batch, and how long that is."""
    task, _, _ = cached(data, teacher, tmp_path)
    fill(task)
    together = task.teacher.signals(batch(task, [3, 17]), WANTED)
    for b, row in enumerate([3, 17]):
        alone = task.teacher.signals(batch(task, [row]), WANTED)
        n = alone.mask.size(1)
        assert torch.equal(alone.states[4][0], together.states[4][b, :n])
        assert torch.equal(alone.attention[2][0], together.attention[2][b, :, :n, :n])
        for key, kept in alone.compressed.items():
            assert torch.equal(
                kept.values[0][kept.values[0] != 0],
                together.compressed[key].values[b][together.compressed[key].values[b] != 0],
            )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("hidden_mse_learn", {"mapping": "combine"}),
        ("att_kl_hidden_mse", {}),
        ("minilm_v2", {}),
        ("alp_kd", {}),
        ("crd", {"crd_negatives": 8}),
        ("hsk", {"hsk_keep": "2l_3t_0.5h", "hsk_width": "magnitude_sentence", "hsk_teacher_alone": True}),
    ],
)
def test_every_criterion_learns_the_same_from_it(data, teacher, tmp_path, monkeypatch, method, options):
    live, student, criterion = build(data, teacher, method, **options)
    torch.manual_seed(3)
    expected, _, _ = criterion(student, batch(live, range(6), "train"))

    for attempt in range(2):
        precision = {"cache_precision": "fp32"}
        task, student, criterion = cached(
            data, teacher, tmp_path, None, ["train"], precision, method, **options
        )
        if attempt:
            forbid_live(monkeypatch)
        sample = batch(task, range(6), "train")
        assert ("cached" in sample) == bool(attempt)
        torch.manual_seed(3)
        found, _, _ = criterion(student, sample)
        assert_close(found, expected, rtol=1e-5, atol=1e-6)
        monkeypatch.setattr(split_cache.SplitCache, "missing", lambda _: [])  # as if all rows were there


def test_a_disk_that_is_full_after_all_leaves_no_incomplete_file(data, teacher, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "posix_fallocate", full)
        with pytest.raises(CannotStart, match=r"cannot be written \(No space left on device\): free"):
            cached(data, teacher, tmp_path, None)
    assert [path.name for path in (tmp_path / "valid").iterdir()] == ["rows.json"]
    task, _, _ = cached(data, teacher, tmp_path, None)
    fill(task)
    assert invalid_rows(task) == []


def test_a_batch_has_the_values_that_were_checked(data, teacher, tmp_path):
    """Whoever writes the row anew between its check and the making of the batch."""
    task, _, _ = cached(data, teacher, tmp_path, None)
    fill(task)
    dataset, expected = task.dataset("valid"), batch(task, [3])["cached"]
    checked = dataset[3]
    np.memmap(tmp_path / "valid" / "logits.fp16.bin", np.uint8, mode="r+")[:] = 0
    assert_close(dataset.collater([checked])["cached"], expected, rtol=0, atol=0)


def test_runs_that_fill_a_cache_at_the_same_time_compute_each_row_once(data, teacher, tmp_path, monkeypatch):
    """Their batches were made before the other run wrote; each run then computes what is still missing."""
    first, second = (cached(data, teacher, tmp_path)[0] for _ in range(2))
    computed, compute = [], LiveTeacher.signals

    def noted(self, sample, wanted):
        computed.extend(sample["id"].tolist())
        return compute(self, sample, wanted)

    monkeypatch.setattr(LiveTeacher, "signals", noted)
    orders = [range(40), [(7 * row) % 40 for row in range(40)]]
    batches = [
        [batch(task, order[at : at + 8]) for at in range(0, 40, 8)]
        for task, order in zip((first, second), orders, strict=True)
    ]
    for pair in zip(*batches, strict=True):
        for task, sample in zip((first, second), pair, strict=True):
            task.teacher.signals(sample, WANTED)
    assert sorted(computed) == list(range(40))

    live, _, _ = build(data, teacher, "kd")
    found = second.teacher.signals(batch(second, [3, 17, 20, 5]), WANTED)
    check_signals(found, live.teacher.signals(batch(live, [3, 17, 20, 5]), WANTED), 1e-3)


@pytest.mark.slow
def test_a_damaged_row_ends_a_run_without_a_teacher_and_is_written_again_with_one(data, teacher, tmp_path):
    task, _, _ = cached(data, teacher, tmp_path, None)
    fill(task)
    without, student, criterion = cached(data, None, tmp_path, None, init_from=teacher)
    damage(tmp_path)
    criterion(student, batch(without, [1, 2]))
    with pytest.raises(CannotStart, match="has damaged rows: give --teacher"):  # damaged after the start
        criterion(student, batch(without, [0, 1]))
    with pytest.raises(CannotStart, match="has damaged rows of valid, 1 of 40: give --teacher"):
        cached(data, None, tmp_path, None, init_from=teacher)

    task, _, _ = cached(data, teacher, tmp_path, None)
    assert invalid_rows(task) == [0]
    task.teacher.signals(batch(task, [0, 1]), WANTED)
    assert invalid_rows(task) == []
    cached(data, None, tmp_path, None, init_from=teacher)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changed", "found"),
    [
        ("teacher", "has the signals of another teacher than --teacher"),
        ("precision", "was written with --teacher-precision fp32, now bf16"),
        ("length", "has data of up to 40 tokens, now 30"),
        ("encoder", "has data of another vocabulary"),
        ("data", r"has other data than this valid \(40 rows, now 40; or other tokens\)"),
    ],
)
def test_a_cache_of_something_else_is_refused(data, teacher, tmp_path, changed, found):
    folder, task = tmp_path / "cache", {}
    cached(data, teacher, folder)
    data = shutil.copytree(data, tmp_path / "data")
    if changed == "teacher":
        teacher = write_teacher(tmp_path / "other.pt", seed=5)
    elif changed == "precision":
        task["teacher_precision"] = "bf16"
    elif changed == "data":
        content = np.fromfile(data / "input0" / "valid.bin", np.uint16)
        content[0] += 1
        content.tofile(data / "input0" / "valid.bin")
    else:
        meta = json.loads((data / "meta.json").read_text())
        other = {"length": {"max_positions": 30}, "encoder": {"dictionary_hash": "x"}}[changed]
        (data / "meta.json").write_text(json.dumps(meta | other))
    with pytest.raises(CannotStart, match=rf"--teacher-cache \S+ {found}"):
        cached(data, teacher, folder, task=task)


@pytest.mark.slow
def test_signals_that_are_missing_need_the_teacher(data, teacher, tmp_path, monkeypatch):
    task, _, _ = cached(data, teacher, tmp_path, None, ("valid", "train"))
    with pytest.raises(CannotStart, match=r"--teacher-cache \S+none is empty: give --teacher"):
        cached(data, None, tmp_path / "none", None, init_from=teacher)
    with pytest.raises(CannotStart, match=r"lacks logits of valid in fp16"):
        cached(data, None, tmp_path, None, init_from=teacher)

    fill(task)
    fill(task, "train")
    with pytest.raises(CannotStart, match=r"lacks state-0, state-2, state-4 of valid in fp16"):
        cached(data, None, tmp_path, None, criterion="hidden_mse_learn", init_from=teacher)
    with pytest.raises(CannotStart, match=r"lacks logits of valid in bf16"):
        cached(data, None, tmp_path, None, task={"cache_precision": "bf16"}, init_from=teacher)

    forbid_live(monkeypatch)
    task, student, criterion = cached(data, None, tmp_path, None, ("train", "valid"), init_from=teacher)
    criterion(student, batch(task, [1, 2]))
    # With the teacher, they are written beside what is there.
    monkeypatch.undo()
    cached(data, teacher, tmp_path, None, criterion="hidden_mse_learn")
    names = sorted(path.name for path in (tmp_path / "valid").glob("*.bin"))
    assert names == [f"{name}.fp16.bin" for name in ("logits", "state-0", "state-2", "state-4")]


def test_precision_must_be_that_of_a_cache_without_a_teacher(data, teacher, tmp_path):
    task, _, _ = cached(data, teacher, tmp_path, None)
    fill(task)
    cached(data, None, tmp_path, None, task={"teacher_precision": "fp32"}, init_from=teacher)
    with pytest.raises(CannotStart, match="was written with --teacher-precision fp32, now bf16"):
        cached(data, None, tmp_path, None, task={"teacher_precision": "bf16"}, init_from=teacher)


@pytest.mark.slow
def test_signals_of_masked_words_are_cached(text, lm_teacher, tmp_path, monkeypatch):
    given = {"frozen_masking": True, "mask_whole_words": True}
    stored = {"teacher_cache": str(tmp_path / "cache"), "cache_precision": "fp32"}

    def made(**changed):
        weights = {"hard_weight": 0.5, "soft_weight": 0.5}
        built = pretraining(text, lm_teacher, "att_kl_learn", task=given | changed, **weights)
        built[0].load_dataset("valid")
        return built

    live, student, criterion = made()
    expected, _, _ = criterion(student, batch(live, [0, 2, 3]))
    task, _, _ = made(**stored)
    for row in range(len(task.dataset("valid"))):
        task.teacher.signals(batch(task, [row]), Wanted())

    forbid_live(monkeypatch)
    task, student, criterion = made(**stored)
    sample = batch(task, [0, 2, 3])
    found, _, _ = criterion(student, sample)
    assert "cached" in sample
    assert_close(found, expected, rtol=1e-5, atol=1e-6)
    sent = pickle.loads(pickle.dumps(task.dataset("valid")))
    assert_close(sent.collater([sent[0], sent[2]])["cached"], batch(task, [0, 2])["cached"], rtol=0, atol=0)
    assert (tmp_path / "cache" / "valid.0" / "masked.npy").is_file()

    # Masked otherwise, it is other data.
    with pytest.raises(CannotStart, match="valid.0 has other data"):
        made(seed=2, **stored)


def test_words_masked_anew_cannot_be_stored(text, lm_teacher, tmp_path):
    given = {"teacher_cache": str(tmp_path / "cache"), "frozen_masking": False}
    with pytest.raises(CannotStart, match=r"--teacher-cache \S+ without --frozen-masking"):
        pretraining(text, lm_teacher, "kd", task=given)
    assert not (tmp_path / "cache").exists()


def test_cache_is_of_one_number_of_replaced_words(text, lm_teacher, tmp_path):
    def made(replaced):
        given = {"teacher_cache": str(tmp_path / "cache"), "frozen_masking": True, "replaced_words": replaced}
        task, _, _ = pretraining(text, lm_teacher, "kd", task=given)
        return task, task.load_dataset("train")

    task, dataset = made(9)
    task.teacher.signals(batch(task, range(len(dataset)), "train"), Wanted())
    dataset.set_epoch(2)
    assert not len(dataset.cached.invalid_rows(dataset))
    with pytest.raises(CannotStart, match=r"train\.0 has other data"):
        made(8)


@pytest.mark.slow
def test_a_later_shard_is_checked_before_the_first_epoch(text, lm_teacher, tmp_path, monkeypatch):
    given = {"teacher_cache": str(tmp_path / "cache"), "frozen_masking": True}

    def load(data, teacher, **model):
        task, _, _ = pretraining(data, teacher, "kd", task=given, model=model)
        dataset = task.load_dataset("train")
        task.teacher.allocate()
        return task, dataset

    task, dataset = load(text, lm_teacher)
    for row in range(len(dataset)):
        task.teacher.signals(batch(task, [row], "train"), Wanted())
    both = f"{text}:{write_text(tmp_path / 'second', seed=1)}"
    with pytest.raises(CannotStart, match=r"lacks masked of train\.1 in fp16"):
        load(both, None, init_from=str(lm_teacher))

    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(CannotStart, match=r"needs 4.8 KiB \(train\.1 .* 1000 bytes are free"):
        load(both, lm_teacher)
    monkeypatch.undo()
    load(both, lm_teacher)
    assert (tmp_path / "cache" / "train.1" / "masked.fp16.bin").is_file()
