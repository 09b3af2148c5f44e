"""A teacher on disk says what the live one says, within the precision of what is stored; and nothing else."""

import json
import logging
import os
import pickle
import shutil

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from fairseq_kd.data.cache import split_cache
from fairseq_kd.errors import CannotStart
from fairseq_kd.losses import Compression
from fairseq_kd.signals import Wanted
from fairseq_kd.teachers import LiveTeacher
from fairseq_kd.teachers.cached import CachedTeacher
from tests.stored import check_signals
from tests.tiny import batch, build, write_teacher, write_text

KEPT = [
    (4, Compression()),
    (4, Compression(3, "left")),
    (3, Compression(3, "attention_no_sep", 3, 0.25, "magnitude")),
    (2, Compression(30, "attention", 2, 0.3, "magnitude_sentence")),
    (1, Compression(2, "attention_no_sep", 1, 0.3, "magnitude_sentence")),
    (2, Compression(share=0.5, width="uniform")),
    (2, Compression(5, "left", None, 0.5, "random")),
    (0, Compression(share=0.5, width="magnitude")),
]
WANTED = Wanted.of(True, states=[0, 4], attention=[2, 4], projections=[3], first=[1, 4], compressed=KEPT)
TOLERANCES = {"fp16": 1e-3, "bf16": 1e-2, "fp32": 1e-6}


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
        built.context.teacher = CachedTeacher(
            folder,
            built.teacher.identity,
            wanted,
            str(built.cfg.cache_precision),
            False,
            built.teacher.load_live,
        )
    for split in splits:
        built.load_dataset(split)
    built.teacher.allocate()
    return built, student, criterion


def fill(task, split="valid", size=8):
    for start in range(0, len(task.dataset(split)), size):
        rows = range(start, min(start + size, len(task.dataset(split))))
        task.teacher.signals(batch(task, rows, split), WANTED)


def forbid_live(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("the teacher was loaded")

    monkeypatch.setattr(LiveTeacher, "__init__", refuse)


@pytest.mark.slow
@pytest.mark.parametrize("precision", TOLERANCES)
def test_it_says_what_the_live_one_says(data, teacher, tmp_path, monkeypatch, precision):
    live, _, _ = build(data, teacher, "kd")
    task, _, _ = cached(data, teacher, tmp_path / "cache", task={"cache_precision": precision})
    fill(task)

    sample, expected = batch(task, [3, 17, 20, 5]), live.teacher.signals(batch(live, [3, 17, 20, 5]), WANTED)
    forbid_live(monkeypatch)
    again, _, _ = cached(data, teacher, tmp_path / "cache", task={"cache_precision": precision})
    sample = batch(again, [3, 17, 20, 5])
    assert "cached" in sample
    found = again.teacher.signals(sample, WANTED)

    check_signals(found, expected, TOLERANCES[precision])


@pytest.mark.slow
@pytest.mark.parametrize("precision", TOLERANCES)
def test_what_is_stored_only_now_has_the_bits_of_what_is_stored(data, teacher, tmp_path, precision):
    task, _, _ = cached(data, teacher, tmp_path, task={"cache_precision": precision})
    rows = [3, 17, 20]
    assert "cached" not in batch(task, rows)
    now = task.teacher.signals(batch(task, rows), WANTED)
    assert "cached" in batch(task, rows)
    check_signals(now, task.teacher.signals(batch(task, rows), WANTED), tolerance=0)


def test_a_disk_that_keeps_nothing_ends_the_run(data, teacher, tmp_path, monkeypatch):
    task, _, _ = cached(data, teacher, tmp_path)
    monkeypatch.setattr(split_cache.RecordFile, "write", lambda *_: None)
    with pytest.raises(CannotStart, match=r"--teacher-cache \S+valid lost data that was written to it: name"):
        task.teacher.signals(batch(task, [3]), WANTED)


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


METHODS = [
    ("kd", {}),
    ("hidden_mse_learn", {"mapping": "combine"}),
    ("att_kl_hidden_mse", {}),
    ("minilm_v2", {}),
    ("alp_kd", {}),
    ("crd", {"crd_negatives": 8}),
    ("hsk", {"hsk_keep": "1l_3t_0.5h"}),
    ("hsk", {"hsk_keep": "2l_3t_0.5h", "hsk_width": "magnitude_sentence", "hsk_teacher_alone": True}),
]


@pytest.mark.slow
@pytest.mark.parametrize(("method", "options"), METHODS)
def test_every_criterion_learns_the_same_from_it(data, teacher, tmp_path, monkeypatch, method, options):
    live, student, criterion = build(data, teacher, method, **options)
    torch.manual_seed(3)
    expected, _, _ = criterion(student, batch(live, range(6), "train"))

    for attempt in range(2):
        task, student, criterion = cached(
            data, teacher, tmp_path, None, ("train",), {"cache_precision": "fp32"}, method, **options
        )
        if attempt:
            forbid_live(monkeypatch)
        sample = batch(task, range(6), "train")
        assert ("cached" in sample) == bool(attempt)
        torch.manual_seed(3)
        found, _, _ = criterion(student, sample)
        assert_close(found, expected, rtol=1e-5, atol=1e-6)
        monkeypatch.setattr(split_cache.SplitCache, "missing", lambda _: [])  # as if all rows were there


def test_what_is_stored_is_as_large_as_announced(data, teacher, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    keep = {"hsk_keep": "1l_3t_0.25h", "mapping": "skip", "soft_weight": 0.0}
    task, _, _ = cached(data, teacher, tmp_path, None, ("valid",), (), "hsk", **keep)

    # 3 tokens of 4 dimensions of 2 bytes, and as many to say which; 2 bytes a token to say where; 30 -> 32?
    sizes = task.dataset("valid").sizes
    record = 3 * 4 * (2 + 2) + 3 * 2
    expected = len(sizes) * ((record + 3) // 4 * 4)
    [path] = (tmp_path / "valid").glob("*.bin")
    assert sizes.min() > 3
    assert path.name == "compressed-4-3t.attention_no_sep.4_0.25h.magnitude.fp16.bin"
    assert path.stat().st_size == expected
    [line] = [line for line in caplog.messages if "--teacher-cache" in line]
    told = f"{(expected + 4 * len(sizes)) / 1024:.1f} KiB"
    assert f".magnitude in fp16 take {told} (valid {told}), of " in line


def test_room_is_that_of_all_splits_together(data, teacher, tmp_path, monkeypatch, caplog):
    """Where one fits and both do not, neither is begun."""
    caplog.set_level(logging.INFO)
    task, _, _ = cached(data, teacher, tmp_path, None, ())
    for split in ("valid", "train"):
        task.load_dataset(split)
    sizes = task.teacher.missing_bytes()
    assert sizes == {"valid": 40 * (4 + 4), "train": 64 * (4 + 4)}
    assert not list(tmp_path.iterdir())

    free = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: free._replace(free=sum(sizes.values()) - 1))
    said = r"832 bytes \(valid 320 bytes, train 512 bytes\)"
    with pytest.raises(
        CannotStart, match=f"needs {said} for logits in fp16, but 831 bytes are free: free some space"
    ):
        task.teacher.allocate()
    assert not list(tmp_path.rglob("*.*s"))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: free._replace(free=sum(sizes.values())))
    task.teacher.allocate()
    assert sum(path.stat().st_size for path in tmp_path.rglob("logits.*")) == sum(sizes.values())
    assert task.teacher.missing_bytes() == {}


def test_a_disk_that_is_full_after_all_leaves_no_incomplete_file(data, teacher, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "posix_fallocate", full)
        with pytest.raises(
            CannotStart, match=r"cannot be written \(No space left on device\): free some space"
        ):
            cached(data, teacher, tmp_path, None)
    assert [path.name for path in (tmp_path / "valid").iterdir()] == ["rows.json"]
    task, _, _ = cached(data, teacher, tmp_path, None)
    fill(task)
    assert invalid_rows(task) == []


def test_rows_half_written_are_not_read_and_written_again(data, teacher, tmp_path):
    task, _, _ = cached(data, teacher, tmp_path)
    fill(task)
    expected = task.teacher.signals(batch(task, [3, 4]), WANTED)

    # A writer was killed: within a record, before the checksums, and between two records of a row.
    state = tmp_path / "valid" / "state-4.fp16.bin"
    ends = task.dataset("valid").cached._ends(task.teacher.codecs[2])
    assert task.teacher.codecs[2].name == "state-4"
    content = np.memmap(state, np.uint8, mode="r+")
    content[ends[3] - 40 : ends[3]] = 0
    np.memmap(state.with_suffix(".sums"), np.uint32, mode="r+")[9] = 0

    task, _, _ = cached(data, teacher, tmp_path)
    assert "cached" not in batch(task, [3])
    assert "cached" not in batch(task, [8, 9])
    assert "cached" in batch(task, [4])
    task.teacher.signals(batch(task, [3]), WANTED)
    task.teacher.signals(batch(task, [9]), WANTED)

    found = task.teacher.signals(batch(task, [3, 4]), WANTED)
    assert "cached" in batch(task, [3, 9])
    assert_close(found.states[4], expected.states[4], rtol=1e-3, atol=1e-3)


def test_what_is_served_is_what_was_checked(data, teacher, tmp_path):
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
    monkeypatch.setattr(
        LiveTeacher,
        "signals",
        lambda self, sample, wanted: computed.extend(sample["id"].tolist()) or compute(self, sample, wanted),
    )
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
    check_signals(found, live.teacher.signals(batch(live, [3, 17, 20, 5]), WANTED), TOLERANCES["fp16"])


@pytest.mark.slow
def test_a_damaged_row_without_a_teacher_is_said_before_training(data, teacher, tmp_path):
    task, _, _ = cached(data, teacher, tmp_path, None)
    fill(task)
    np.memmap(tmp_path / "valid" / "logits.fp16.bin", np.uint8, mode="r+")[0] ^= 1
    with pytest.raises(CannotStart, match="has damaged rows of valid, 1 of 40: give --teacher"):
        cached(data, None, tmp_path, None, init_from=teacher)

    task, _, _ = cached(data, teacher, tmp_path, None)
    assert invalid_rows(task) == [0]
    task.teacher.signals(batch(task, [0, 1]), WANTED)
    assert invalid_rows(task) == []
    cached(data, None, tmp_path, None, init_from=teacher)


def test_a_row_damaged_meanwhile_ends_a_run_without_a_teacher(data, teacher, tmp_path):
    task, _, _ = cached(data, teacher, tmp_path, None)
    fill(task)
    task, student, criterion = cached(data, None, tmp_path, None, init_from=teacher)
    np.memmap(tmp_path / "valid" / "logits.fp16.bin", np.uint8, mode="r+")[0] ^= 1
    criterion(student, batch(task, [1, 2]))
    with pytest.raises(CannotStart, match="has damaged rows: give --teacher"):
        criterion(student, batch(task, [0, 1]))


def test_a_file_of_the_wrong_size_is_refused(data, teacher, tmp_path):
    cached(data, teacher, tmp_path)
    with (tmp_path / "valid" / "state-4.fp16.bin").open("ab") as file:
        file.write(b"more")
    with pytest.raises(CannotStart, match=r"damaged file \S+state-4.fp16.bin .*: remove it"):
        cached(data, teacher, tmp_path)


def test_a_row_with_other_tokens_counts_as_missing(data, teacher, tmp_path):
    task, student, criterion = cached(data, teacher, tmp_path, None)
    fill(task)
    dataset = task.dataset("valid")
    dataset.first = [row.roll(1) for row in dataset.first]
    assert "cached" not in batch(task, [2, 3])
    live = task.teacher.live.signals(batch(task, [2, 3]), WANTED)
    assert_close(task.teacher.signals(batch(task, [2, 3]), WANTED).logits, live.logits, rtol=1e-3, atol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        (
            "teacher",
            r"has the signals of another teacher than --teacher .*: give that teacher; or name another folder",
        ),
        ("precision", r"was written with --teacher-precision fp32, now bf16"),
        ("head", r"was written with --classification-head-name None, now sentence_classification_head"),
        ("length", r"has data of up to 40 tokens, now 30"),
        ("encoder", r"has data of another vocabulary"),
        ("data", r"has other data than this valid \(40 rows, now 40; or other tokens\)"),
        ("format", r"has format 1, but this version needs 4"),
        ("unreadable", r"has an invalid cache\.json"),
    ],
)
def test_a_cache_of_something_else_is_refused(data, teacher, tmp_path, changed, problem):
    folder, task = tmp_path / "cache", {}
    cached(data, teacher, folder)
    stored = json.loads((folder / "cache.json").read_text())
    if changed == "teacher":
        teacher = write_teacher(tmp_path / "other.pt", seed=5)
    elif changed == "precision":
        task["teacher_precision"] = "bf16"
    elif changed == "data":
        shutil.copytree(data, tmp_path / "data")
        data = tmp_path / "data"
        tokens = data / "input0" / "valid.bin"
        content = np.fromfile(tokens, np.uint16)
        content[0] += 1
        content.tofile(tokens)
    elif changed == "length":
        shutil.copytree(data, tmp_path / "data")
        data = tmp_path / "data"
        meta = json.loads((data / "meta.json").read_text())
        (data / "meta.json").write_text(json.dumps(meta | {"max_positions": 30}))
    else:
        other = {"head": {"head": None}, "encoder": {"encoder": "x"}, "format": {"format": 1}}
        text = json.dumps(stored | other.get(changed, {})) if changed != "unreadable" else "{"
        (folder / "cache.json").write_text(text)
    with pytest.raises(CannotStart, match=rf"--teacher-cache \S+ {problem}"):
        cached(data, teacher, folder, task=task)


@pytest.mark.parametrize("content", ["{", "null"])
def test_a_split_that_does_not_say_of_what_it_is_is_refused(data, teacher, tmp_path, content):
    cached(data, teacher, tmp_path)
    (tmp_path / "valid" / "rows.json").write_text(content)
    with pytest.raises(
        CannotStart,
        match=r"--teacher-cache \S+valid has an invalid rows\.json .*: remove that folder, or name",
    ):
        cached(data, teacher, tmp_path)


@pytest.mark.slow
def test_signals_that_are_missing_need_the_teacher(data, teacher, tmp_path, monkeypatch):
    task, _, _ = cached(data, teacher, tmp_path, None, ("valid", "train"))
    with pytest.raises(CannotStart, match=r"--teacher-cache \S+none is empty: give --teacher"):
        build(
            data,
            None,
            "kd",
            task={"teacher_cache": str(tmp_path / "none")},
            model={"init_from": str(teacher)},
        )
    with pytest.raises(CannotStart, match=r"lacks logits of valid in fp16"):
        cached(data, None, tmp_path, None, init_from=teacher)

    fill(task)
    fill(task, "train")
    with pytest.raises(CannotStart, match=r"lacks state-0, state-2, state-4 of valid in fp16"):
        cached(
            data, None, tmp_path, None, ("valid",), (), "hidden_mse_learn", init_from=teacher, layers="0,3"
        )
    with pytest.raises(CannotStart, match=r"lacks logits of valid in bf16"):
        cached(data, None, tmp_path, None, task={"cache_precision": "bf16"}, init_from=teacher)

    forbid_live(monkeypatch)
    task, student, criterion = cached(data, None, tmp_path, None, ("train", "valid"), init_from=teacher)
    criterion(student, batch(task, [1, 2]))
    # With the teacher, they are written beside what is there.
    monkeypatch.undo()
    cached(data, teacher, tmp_path, None, ("valid",), (), "hidden_mse_learn")
    assert sorted(path.name for path in (tmp_path / "valid").glob("*.bin")) == [
        "logits.fp16.bin",
        "state-0.fp16.bin",
        "state-2.fp16.bin",
        "state-4.fp16.bin",
    ]


def test_precision_must_be_that_of_a_cache_without_a_teacher(data, teacher, tmp_path):
    task, _, _ = cached(data, teacher, tmp_path, None)
    fill(task)
    cached(data, None, tmp_path, None, task={"teacher_precision": "fp32"}, init_from=teacher)
    with pytest.raises(CannotStart, match="was written with --teacher-precision fp32, now bf16"):
        cached(data, None, tmp_path, None, task={"teacher_precision": "bf16"}, init_from=teacher)


def test_numbers_too_large_for_fp16_are_refused(data, teacher, tmp_path, monkeypatch):
    task, _, _ = cached(data, teacher, tmp_path, None)
    signals = task.teacher.live.signals(batch(task, [0]), WANTED)
    signals.logits = signals.logits + 1e5
    with pytest.raises(
        SystemExit, match=r"Cannot cache logits: --cache-precision fp16 has no number above 65504"
    ):
        task.dataset("valid").cached.write([0], batch(task, [0])["net_input"]["src_tokens"], signals)


TEXT = {"frozen_masking": True, "tokens_per_sample": 24, "sample_break_mode": "complete"}


@pytest.mark.slow
def test_masked_words_do_as_well(tmp_path, monkeypatch):
    text = write_text(tmp_path / "text")
    teacher = write_teacher(tmp_path / "model.pt", classes=None, lm_head=True)
    given = {
        **TEXT,
        "mask_whole_words": True,
        "teacher_cache": str(tmp_path / "cache"),
        "cache_precision": "fp32",
    }

    def made(**changed):
        built = build(
            text,
            teacher,
            "att_kl_learn",
            task=given | changed,
            task_name="masked_lm_kd",
            hard_weight=0.5,
            soft_weight=0.5,
        )
        built[0].load_dataset("valid")
        return built

    live, student, criterion = made(teacher_cache=None, cache_precision=None)
    expected, _, _ = criterion(student, batch(live, [0, 2, 3]))
    task, student, criterion = made()
    size = len(task.dataset("valid"))
    for start in range(0, size, 4):
        task.teacher.signals(batch(task, range(start, min(size, start + 4))), Wanted())

    forbid_live(monkeypatch)
    task, student, criterion = made()
    sample = batch(task, [0, 2, 3])
    found, _, _ = criterion(student, sample)
    assert "cached" in sample
    assert_close(found, expected, rtol=1e-5, atol=1e-6)
    sent = pickle.loads(pickle.dumps(task.dataset("valid")))
    assert_close(sent.collater([sent[0], sent[2]])["cached"], batch(task, [0, 2])["cached"], rtol=0, atol=0)
    assert (tmp_path / "cache" / "valid.0" / "masked.npy").is_file()

    # Masked otherwise, it is other data.
    with pytest.raises(CannotStart, match="valid.0 has other data"):
        made(seed=2)


def test_words_masked_anew_cannot_be_stored(tmp_path):
    text = write_text(tmp_path / "text")
    teacher = write_teacher(tmp_path / "model.pt", classes=None, lm_head=True)
    given = {**TEXT, "teacher_cache": str(tmp_path / "cache"), "frozen_masking": False}
    with pytest.raises(CannotStart, match=r"--teacher-cache \S+ without --frozen-masking"):
        build(text, teacher, "kd", task=given, task_name="masked_lm_kd")
    assert not (tmp_path / "cache").exists()


def test_cache_is_of_one_number_of_replaced_words(tmp_path):
    text = write_text(tmp_path / "text")
    teacher = write_teacher(tmp_path / "model.pt", classes=None, lm_head=True)

    def made(replaced):
        given = {**TEXT, "teacher_cache": str(tmp_path / "cache"), "replaced_words": replaced}
        task, _, _ = build(text, teacher, "kd", task=given, task_name="masked_lm_kd")
        return task, task.load_dataset("train")

    task, dataset = made(9)
    task.teacher.signals(batch(task, range(len(dataset)), "train"), Wanted())
    dataset.set_epoch(2)
    assert not len(dataset.cached.invalid_rows(dataset))
    with pytest.raises(CannotStart, match=r"train\.0 has other data"):
        made(8)


@pytest.mark.slow
def test_what_a_later_shard_lacks_is_said_before_the_first_epoch(tmp_path, monkeypatch):
    shards = [write_text(tmp_path / f"shard{number}", seed=number) for number in range(2)]
    teacher = write_teacher(tmp_path / "model.pt", classes=None, lm_head=True)
    given = {**TEXT, "teacher_cache": str(tmp_path / "cache")}

    def load(data, teacher, **model):
        task, _, _ = build(data, teacher, "kd", task=given, task_name="masked_lm_kd", model=model)
        dataset = task.load_dataset("train")
        task.teacher.allocate()
        return task, dataset

    task, dataset = load(shards[0], teacher)
    for row in range(len(dataset)):
        task.teacher.signals(batch(task, [row], "train"), Wanted())
    both = ":".join(map(str, shards))
    with pytest.raises(CannotStart, match=r"lacks masked of train\.1 in fp16"):
        load(both, None, init_from=str(teacher))

    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(CannotStart, match=r"needs 4.8 KiB \(train\.1 .* 1000 bytes are free"):
        load(both, teacher)
    monkeypatch.undo()
    load(both, teacher)
    assert (tmp_path / "cache" / "train.1" / "masked.fp16.bin").is_file()
