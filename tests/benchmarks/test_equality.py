"""Benchmarks compare only variants with equal results, and record their measurements."""

import csv
import math

import numpy as np
import pytest
import torch
from torch.nn import Parameter

from benchmarks import cache, optimizer, record, synthetic, vocabulary
from fairseq_kd.data.cache import SplitCache


@pytest.mark.slow
def test_both_variants_of_the_teacher_are_measured_and_recorded(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(record, "RESULTS", tmp_path / "results.csv")
    monkeypatch.setattr(cache, "LOSSES", {"hsk full": cache.LOSSES["hsk full"]})
    cache.main("--pair 4x16:2x16 --sentences 24 --tokens 12 --batch-size 8 --epochs 1".split())
    with (tmp_path / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == record.COLUMNS
    assert [row["variant"] for row in rows] == [f"hsk full, {name}" for name in ("live", "cached", "on disk")]
    assert {row["benchmark"] for row in rows} == {"cache, 4x16 -> 2x16, 24 sentences of up to 12 tokens"}
    assert all(float(row["value"]) > 0 for row in rows)
    assert "hsk full" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["logits", cache.SELECTING_LOSS])
def test_swapped_rows_of_the_cache_stop_the_benchmark(tmp_path, monkeypatch, loss):
    """Each sentence gets the records of the next sentence with its length."""
    setting = cache.Setting((4, 16), (2, 16), 24, 12, 8)
    synthetic.write_sentences(tmp_path / "data", setting.sentences, setting.tokens)
    cache.write_teacher(tmp_path / "model.pt", setting)
    read = SplitCache.read

    def swapped(self, row, tokens):
        alike = np.flatnonzero(self.tokens == self.tokens[row]).tolist()
        other = alike[(alike.index(row) + 1) % len(alike)]
        found = read(self, row, tokens)
        return found and [bytes(file.records[file._start(other) : file.ends[other]]) for file in self._files]

    monkeypatch.setattr(SplitCache, "read", swapped)
    monkeypatch.setattr(cache, "train", lambda *_: pytest.fail("it was timed"))
    with pytest.raises(SystemExit, match=r"\d+ of 24 sentences"):
        cache.measure(tmp_path, setting, loss, 1, True)


def test_the_cache_may_differ_by_rounding_or_in_one_selected_sentence_of_32():
    live = np.array([1.0, 2.0, 0.0])
    cache.check_equal("logits", live, live * (1 + 2**-9))
    with pytest.raises(SystemExit, match="logits: 1 of 3 sentences"):
        cache.check_equal("logits", live, live + [0.01, 0.0, 0.0])

    live, positions = np.ones(64), np.arange(64)
    cache.check_equal(cache.SELECTING_LOSS, live, live + 0.01 * (positions < 2))
    for loss, count in (("hsk full", 2), (cache.SELECTING_LOSS, 3)):
        with pytest.raises(SystemExit, match=f"{loss}: {count} of 64 sentences"):
            cache.check_equal(loss, live, live + 0.01 * (positions < count))


def test_an_optimizer_with_other_results_stops_the_benchmark():
    """The shapes are those of stock fairseq's student: a second copy of the matrices, embeddings and a head."""
    matrices = 4 * (384 * 384 + 384) + 2 * 384 * 1536 + 1536 + 384
    by_hand = (30522 + 514 + 2) * 384 + 3 * (2 * matrices + 4 * 384) + (384 + 1) * 384 + (384 + 1) * 2
    assert sum(math.prod(shape) for shape in optimizer.student_shapes()) == by_hand == 22_709_378
    same = [Parameter(torch.ones(2))]
    optimizer.check_equal({optimizer.OURS: same, "peer": [Parameter(torch.ones(2))]})
    with pytest.raises(SystemExit, match="peer"):
        optimizer.check_equal({optimizer.OURS: same, "peer": [Parameter(torch.zeros(2))]})


@pytest.mark.slow
def test_a_vocabulary_loss_with_other_results_stops_the_benchmark():
    variants = zip(vocabulary.VARIANTS, (5, 12), strict=True)
    found = {name: vocabulary.measure(tokens=12, words=50, width=8, chunk=chunk) for name, chunk in variants}
    vocabulary.check_equal(found)
    found["at once"]["gradient"] *= 1.01
    with pytest.raises(SystemExit, match="gradient is"):
        vocabulary.check_equal(found)
