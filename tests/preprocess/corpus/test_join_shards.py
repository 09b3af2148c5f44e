"""Pieces are joined to shards, each a data folder of fairseq."""

import json
import os
import shutil

import pytest

from preprocess.encoders import load_encoder
from tests.preprocess.corpus.conftest import contents, read_rows

pytestmark = pytest.mark.usefixtures("small_pieces")


@pytest.mark.slow
def test_every_shard_is_a_data_folder_of_stock_fairseq(make, wiki, tmp_path, gpt2_folder, capsys):
    from fairseq.data import Dictionary, data_utils

    assert make("--input", wiki, "--shards", "3", "--valid-share", "0.2", encoder=gpt2_folder) == 0
    shards = [tmp_path / "data" / f"shard{i}" for i in range(3)]
    assert capsys.readouterr().out.splitlines()[-1] == ":".join(map(str, shards))

    meta = json.loads((tmp_path / "data/meta.json").read_text())
    for number, shard in enumerate(shards):
        dictionary = Dictionary.load(str(shard / "dict.txt"))
        starts = (shard / "word_starts.txt").read_text().split()
        assert len(starts) == len(dictionary) - dictionary.nspecial
        for split, counts in (("train", meta["shards"][number]), ("valid", meta["splits"]["valid"])):
            stored = data_utils.load_indexed_dataset(str(shard / split), dictionary)
            rows = [row.tolist() for row in stored]
            assert rows == read_rows(shard / split)
            assert (len(rows), sum(map(len, rows))) == (counts["rows"], counts["tokens"])
            assert counts["documents"] == rows.count([2]) == counts["rows"] - counts["lines"] > 0
            assert all(row[-1] == 2 and max(row) < len(dictionary) and len(row) <= 127 for row in rows)
        assert (shard / "meta.json").read_bytes() == (tmp_path / "data/meta.json").read_bytes()
    assert meta["encoder"]["hash"] == load_encoder(gpt2_folder).hash
    assert meta["sources"][0] | {"bytes": 0, "hash": ""} == {
        "name": "wiki", "kind": "wiki", "files": 4, "bytes": 0, "documents": 120, "empty": 0, "dropped": 0, "hash": ""
    }  # fmt: skip


@pytest.mark.slow
def test_four_parts_merge_to_what_one_run_makes(make, wiki, tmp_path, capsys):
    flags = ["--input", wiki, "--shards", "2"]
    assert make(*flags) == 0
    for part in (3, 1, 4):
        assert make(*flags, "--part", f"{part}/4", out="parts") == 0
    assert make("--merge", out="parts") == 1
    assert "pieces" in capsys.readouterr().err
    assert not (tmp_path / "parts").exists()

    # The last part is made elsewhere, and what it made copied here.
    assert make(*flags, "--part", "2/4", out="elsewhere") == 0
    for piece in (tmp_path / "elsewhere.parts").glob("*.piece"):
        shutil.copyfile(piece, tmp_path / "parts.parts" / piece.name)
    shutil.rmtree(wiki)
    assert make("--merge", out="parts") == 0
    assert contents(tmp_path / "data") == contents(tmp_path / "parts")
    assert not (tmp_path / "parts.parts").exists()


def test_files_are_synced_before_they_are_renamed(make, wiki, tmp_path, monkeypatch):
    synced = set()
    monkeypatch.setattr(os, "fsync", lambda file: synced.add(os.fstat(file).st_ino))
    assert make("--input", wiki, "--part", "1/1") == 0
    assert {path.stat().st_ino for path in (tmp_path / "data.parts").iterdir()} <= synced
    synced.clear()
    assert make("--merge") == 0
    assert {path.stat().st_ino for path in (tmp_path / "data").iterdir()} <= synced
