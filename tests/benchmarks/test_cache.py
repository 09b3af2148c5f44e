"""The cache's benchmark runs, and times nothing that is not the same."""

import csv

import pytest

from benchmarks import cache, record


@pytest.mark.slow
def test_it_measures_both_and_writes_them_down(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(record, "RESULTS", tmp_path / "results.csv")
    cache.main("--pair 4x16:2x16 --sentences 24 --tokens 12 --batch-size 8 --epochs 1".split())
    with (tmp_path / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3 * 3
    assert {row["benchmark"] for row in rows} == {"cache, 4x16 -> 2x16, 24 sentences of up to 12 tokens"}
    disk = [float(row["value"]) for row in rows if row["unit"] == "MiB"]
    assert 0 < disk[0] < disk[1] < disk[2]
    assert "hsk full" in capsys.readouterr().out


def test_other_losses_are_no_comparison(tmp_path, monkeypatch):
    runs = iter([([1.0, 1.0], [0.5, 0.4]), ([1.0, 1.0], [0.5, 0.3])])
    monkeypatch.setattr(cache, "train", lambda *_: next(runs))
    monkeypatch.setattr(
        cache.cache_teacher, "main", lambda _: (tmp_path / "cache/logits/train").mkdir(parents=True)
    )
    with pytest.raises(SystemExit, match="nothing to compare"):
        cache.measure(tmp_path, cache.Setting((4, 16), (2, 16), 8, 12, 4), "logits", 1, True)
