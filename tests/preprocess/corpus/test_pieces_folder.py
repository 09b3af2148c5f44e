"""Encoded pieces survive an interruption, and are encoded again if they no longer belong to the text."""

import signal
import sys
import time

import pytest

from tests.preprocess.corpus.conftest import contents, start, write_wiki
from tests.processes import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("small_pieces")]

SMALL = "from preprocess.corpus import plan_pieces as plan; plan.SMALLEST = 4096"


@pytest.mark.skipif(sys.platform != "linux", reason="kills a process of Linux")
def test_a_killed_run_goes_on_from_what_it_has(make, tmp_path, wordpiece_folder):
    wiki = write_wiki(tmp_path / "wiki", files=8, articles=50)
    arguments = ["--input", wiki, "--encoder-dir", wordpiece_folder, "--shards", "2", "--workers", "2"]
    slow = "from preprocess.corpus import encode_pieces as pieces; import time; work = pieces.PieceEncoder._write\n"
    slow += "pieces.PieceEncoder._write = lambda *args: (time.sleep(0.1), work(*args))"
    killed = start(*arguments, "--out", tmp_path / "killed", setup=f"{SMALL}\n{slow}")
    parts = tmp_path / "killed.parts"
    wait_until(lambda: len(list(parts.glob("*.piece"))) >= 5)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert not (tmp_path / "killed").exists()
    wait_until(lambda: not _changes(parts))  # its workers end with it

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


def test_a_changed_file_is_encoded_again(make, wiki, tmp_path):
    assert make("--input", wiki, "--part", "1/1") == 0
    changed = wiki / "AA/wiki_01"
    changed.write_text(changed.read_text().replace("kite", "mill"))
    assert make("--input", wiki) == 0
    assert make("--input", wiki, out="new") == 0
    assert contents(tmp_path / "data") == contents(tmp_path / "new")


def test_a_damaged_piece_is_named_and_encoded_again(make, wiki, tmp_path, capsys):
    """It is empty, ends in its header or just before its end, is too long, or has another header."""
    assert make("--input", wiki, "--part", "1/1") == 0
    piece = tmp_path / "data.parts" / "000001.piece"
    whole = piece.read_bytes()
    for damaged in (b"", whole[:100], whole[:-1], whole + b"\0", b'{"sections": 1}\n'):
        piece.write_bytes(damaged)
        assert make("--merge") == 1
        expected = "1 of 17 pieces are missing or damaged (000001.piece is the first)"
        assert expected in capsys.readouterr().err
        assert make("--input", wiki, "--part", "1/1") == 0
        assert piece.read_bytes() == whole
    assert make("--merge") == 0
