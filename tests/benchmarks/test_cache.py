"""The benchmark of the cache times only variants with equal losses."""

import csv

import numpy as np
import pytest

from benchmarks import cache, record, synthetic
from fairseq_kd.data.cache import SplitCache


@pytest.mark.slow
def test_both_variants_are_measured_and_recorded(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(record, "RESULTS", tmp_path / "results.csv")
    monkeypatch.setattr(cache, "LOSSES", {"hsk full": cache.LOSSES["hsk full"]})
    cache.main("--pair 4x16:2x16 --sentences 24 --tokens 12 --batch-size 8 --epochs 1".split())
    with (tmp_path / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["variant"] for row in rows] == [f"hsk full, {name}" for name in ("live", "cached", "on disk")]
    assert {row["benchmark"] for row in rows} == {"cache, 4x16 -> 2x16, 24 sentences of up to 12 tokens"}
    assert all(float(row["value"]) > 0 for row in rows)
    assert "hsk full" in capsys.readouterr().out


@pytest.mark.parametrize("loss", ["logits", cache.SELECTING_LOSS])
def test_swapped_rows_stop_the_benchmark(tmp_path, monkeypatch, loss):
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
    with pytest.raises(SystemExit, match=r"\d+ of 24 sentences have another loss .*: nothing to compare"):
        cache.measure(tmp_path, setting, loss, 1, True)


def test_only_fp16_rounding_is_tolerated():
    live = np.array([1.0, 2.0, 0.0])
    cache.check_equal("logits", live, live * (1 + 2**-9))
    with pytest.raises(
        SystemExit, match=r"logits: 1 of 3 sentences have another loss .* 1.01 and 1\): nothing"
    ):
        cache.check_equal("logits", live, live + [0.01, 0.0, 0.0])


def test_one_sentence_in_32_may_select_other_tokens():
    live = np.ones(64)
    other = live + 0.01 * (np.arange(64) < 2)
    cache.check_equal(cache.SELECTING_LOSS, live, other)
    with pytest.raises(SystemExit, match="hsk full: 2 of 64 sentences"):
        cache.check_equal("hsk full", live, other)
    with pytest.raises(SystemExit, match="hsk 1l_10t_0.1h: 3 of 64 sentences"):
        cache.check_equal(cache.SELECTING_LOSS, live, live + 0.01 * (np.arange(64) < 3))
    assert cache.SELECTING_LOSS in cache.LOSSES
