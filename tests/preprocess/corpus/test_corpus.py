"""`python -m preprocess.corpus`, from text to data."""

import json
import os
import shutil
import signal
import sys
import time

import pytest

from preprocess.encoders import load_encoder
from tests.preprocess.corpus.conftest import contents, read_rows, start, write_wiki

pytestmark = pytest.mark.usefixtures("small_pieces")

SMALL = "from preprocess.corpus import plan_pieces as plan; plan.SMALLEST = 4096"


def documents_of(rows: list[list[int]]) -> list[tuple]:
    """Return the rows between rows with only an end of sentence, as fairseq's complete_doc divides them."""
    found, document = [], []
    for row in rows:
        if row == [2]:
            found.append(tuple(map(tuple, document)))
            document = []
        else:
            document.append(row)
    assert document == []
    return found


def test_lines_are_sentences_that_keep_their_space(make, tmp_path, gpt2_folder):
    (tmp_path / "in.txt").write_text("The ferry leaves. Nobody said so.\nA kite.\n\nIt is noon.\n")
    assert make("--input", f"{tmp_path}/in.txt=text", "--valid-share", "0", encoder=gpt2_folder) == 0

    encoder = load_encoder(gpt2_folder)
    texts = ["The ferry leaves.", " Nobody said so.", "A kite.", "", "It is noon.", ""]
    expected = [[*ids, 2] for ids in encoder.encode(texts)]
    assert read_rows(tmp_path / "data/train") == expected
    # Sentence by sentence or at once, the tokens are the same.
    whole = encoder.encode(["The ferry leaves. Nobody said so."])[0]
    assert whole == [i for row in expected[:2] for i in row[:-1]]


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


def test_dropped_lines_are_counted(make, wiki, tmp_path, capsys):
    lines = ["|- style=x", "{{stub}}", "* * *", "At {{noon}} we left.", "{{open"]
    with (wiki / "AA" / "wiki_00").open("a") as file:
        file.write(
            '<doc id="9" title="t">\nt\n\n'
            + "\n".join(lines)
            + '\n</doc>\n<doc id="8" title="u">\nu\n</doc>\n'
        )
    assert make("--input", wiki) == 0
    assert "dropped: 1 documents without text, 3 lines" in capsys.readouterr().out
    [source] = json.loads((tmp_path / "data/meta.json").read_text())["sources"]
    assert (source["empty"], source["dropped"]) == (1, 3)


@pytest.mark.parametrize(
    ("folder", "expected"),
    [
        ("gpt2_folder", {"The": 0, "Ġ": 1, "he": 0}),
        ("wordpiece_folder", {"the": 1, "##a": 0, ",": 1}),
        ("sentencepiece_folder", {"▁": 1, "e": 0}),
    ],
)
def test_word_starts(request, folder, expected, make, wiki, tmp_path):
    folder = request.getfixturevalue(folder)
    assert make("--input", wiki, encoder=folder) == 0
    marks = (tmp_path / "data/word_starts.txt").read_text().split()
    symbols = [line.rpartition(" ")[0] for line in (tmp_path / "data/dict.txt").read_text().splitlines()]
    if (folder / "encoder.json").exists():
        names = {str(i): piece for piece, i in json.loads((folder / "encoder.json").read_text()).items()}
        symbols = [names[symbol] for symbol in symbols]
    found = {symbol: int(mark) for symbol, mark in zip(symbols, marks, strict=True)}
    assert {symbol: found[symbol] for symbol in expected if symbol in found} == {
        symbol: mark for symbol, mark in expected.items() if symbol in found
    }
    assert {0, 1} == set(found.values())


@pytest.mark.slow
def test_the_text_determines_the_split_and_shard(make, wiki, tmp_path):
    """They depend neither on the order of files nor on other documents."""
    flags = ["--shards", "2", "--valid-share", "0.2", "--test-share", "0.2"]
    assert make("--input", wiki, *flags) == 0
    files = sorted((wiki / "AA").iterdir())
    backwards = [argument for file in reversed(files) for argument in ("--input", file)]
    assert make(*backwards, *flags, out="backwards") == 0
    assert make("--input", files[2], *flags, out="fewer") == 0
    assert make("--input", wiki, *flags, "--seed", "2", out="other") == 0

    everything = []
    for split in ("shard0/train", "shard1/train", "shard0/valid", "shard0/test"):
        here, there, fewer, other = (
            documents_of(read_rows(tmp_path / out / split)) for out in ("data", "backwards", "fewer", "other")
        )
        assert sorted(here) == sorted(there)
        assert here != there
        assert {*fewer} <= {*here}
        assert {*other} != {*here}
        everything += here
    assert len(everything) == 120


def test_long_sentences_are_cut_at_words(make, tmp_path, wordpiece_folder):
    (tmp_path / "in.txt").write_text("the bread " * 30 + "\n")
    assert make("--input", f"{tmp_path}/in.txt=text", "--valid-share", "0", "--longest", "16") == 0
    rows = read_rows(tmp_path / "data/train")
    encoder = load_encoder(wordpiece_folder)
    assert [i for row in rows for i in row[:-1]] == encoder.encode(["the bread " * 30])[0]
    assert all(len(row) <= 16 and row[-1] == 2 for row in rows)
    starts = {i for i, begins in enumerate(encoder.word_starts(), start=4) if begins}
    assert all(row[0] in starts for row in rows[:-1])
    assert json.loads((tmp_path / "data/meta.json").read_text())["splits"]["train"]["cut"] == 1


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


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="kills a process of Linux")
def test_a_killed_run_goes_on_from_what_it_has(make, tmp_path, wordpiece_folder):
    wiki = write_wiki(tmp_path / "wiki", files=8, articles=50)
    arguments = ["--input", wiki, "--encoder-dir", wordpiece_folder, "--shards", "2", "--workers", "2"]
    slow = "from preprocess.corpus import encode_pieces as pieces; import time; work = pieces.PieceEncoder._write\n"
    slow += "pieces.PieceEncoder._write = lambda *args: (time.sleep(0.1), work(*args))"
    killed = start(*arguments, "--out", tmp_path / "killed", setup=f"{SMALL}\n{slow}")
    parts = tmp_path / "killed.parts"
    until(lambda: len(list(parts.glob("*.piece"))) >= 5)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert not (tmp_path / "killed").exists()
    until(lambda: not _changes(parts))  # its workers end with it

    done = {path: path.stat().st_mtime_ns for path in parts.glob("*.piece")}
    again = start(*arguments, "--out", tmp_path / "killed", "--part", "1/1", setup=SMALL)
    _, err = again.communicate()
    assert again.returncode == 0, err
    assert f"{len(done)} of " in err
    assert len(list(parts.glob("*.piece"))) > len(done)
    assert {path: path.stat().st_mtime_ns for path in done} == done

    assert make(*arguments[:2], "--shards", "2", out="killed") == 0
    assert make(*arguments[:2], "--shards", "2", out="whole") == 0
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")


def _changes(folder) -> bool:
    before = sorted(folder.iterdir())
    time.sleep(0.5)
    return sorted(folder.iterdir()) != before


def until(condition, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.slow
def test_a_changed_file_is_encoded_again(make, wiki, tmp_path):
    assert make("--input", wiki, "--part", "1/1") == 0
    changed = wiki / "AA/wiki_01"
    changed.write_text(changed.read_text().replace("kite", "mill"))
    assert make("--input", wiki) == 0
    assert make("--input", wiki, out="new") == 0
    assert contents(tmp_path / "data") == contents(tmp_path / "new")


@pytest.mark.slow
@pytest.mark.parametrize(
    "damage",
    [
        lambda raw: b"",
        lambda raw: raw[:100],
        lambda raw: raw[:-1],
        lambda raw: raw + b"\0",
        lambda raw: b'{"sections": 1}\n',
    ],
    ids=["empty", "half a header", "short", "long", "no sections"],
)
def test_a_damaged_piece_is_named_and_encoded_again(make, wiki, tmp_path, capsys, damage):
    assert make("--input", wiki, "--part", "1/1") == 0
    piece = tmp_path / "data.parts" / "000001.piece"
    whole = piece.read_bytes()
    piece.write_bytes(damage(whole))
    assert make("--merge") == 1
    assert "1 of 17 pieces are missing or damaged (000001.piece is the first)" in capsys.readouterr().err

    assert make("--input", wiki, "--part", "1/1") == 0
    assert piece.read_bytes() == whole
    assert make("--merge") == 0


def test_files_are_synced_before_they_are_renamed(make, wiki, tmp_path, monkeypatch):
    synced = set()
    monkeypatch.setattr(os, "fsync", lambda file: synced.add(os.fstat(file).st_ino))
    assert make("--input", wiki, "--part", "1/1") == 0
    assert {path.stat().st_ino for path in (tmp_path / "data.parts").iterdir()} <= synced
    synced.clear()
    assert make("--merge") == 0
    assert {path.stat().st_ino for path in (tmp_path / "data").iterdir()} <= synced


@pytest.mark.slow
def test_existing_data_is_kept(make, wiki, tmp_path, capsys):
    assert make("--input", wiki) == 0
    before = contents(tmp_path / "data")
    assert make("--input", wiki) == 0
    assert "is up to date" in capsys.readouterr().out
    assert make("--input", wiki, "--seed", "2", "--shards", "3") == 1
    assert "(--shards 1, now 3; --seed 1, now 2)" in capsys.readouterr().err
    assert contents(tmp_path / "data") == before


@pytest.mark.slow
def test_other_text_of_the_same_size_is_not_up_to_date(make, wiki, tmp_path, capsys):
    assert make("--input", wiki) == 0
    before = contents(tmp_path / "data")
    changed = wiki / "AA/wiki_01"
    text, state = changed.read_text(), changed.stat()
    changed.write_text(text.replace("kite", "mill"))
    assert make("--input", wiki) == 1
    assert "data was made from other text in wiki" in capsys.readouterr().err

    changed.write_text(text)  # as it was, but for its time
    assert make("--input", wiki) == 0
    output = capsys.readouterr()
    assert "input files may have changed; comparing their contents" in output.err
    assert "is up to date" in output.out

    os.utime(changed, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert make("--input", wiki) == 0
    assert capsys.readouterr().err == ""
    assert contents(tmp_path / "data") == before
