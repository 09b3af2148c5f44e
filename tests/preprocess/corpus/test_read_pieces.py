"""Compressed files give the same data as their text, in bounded memory; unreadable files are errors."""

import bz2
import gzip
import json
import lzma
from pathlib import Path

import pytest

from preprocess.corpus import plan_pieces as plan
from preprocess.corpus.input_files import File, find_source
from preprocess.corpus.plan_pieces import cut
from preprocess.corpus.read_pieces import clean_lines, decompressed_blocks
from preprocess.errors import DataError
from tests.preprocess.corpus.conftest import article, contents
from tests.preprocess.corpus.test_plan_pieces import texts

pytestmark = pytest.mark.usefixtures("small_pieces")

COMPRESS = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}
TOKENS = ("train.bin", "train.idx", "valid.bin", "valid.idx")
DOCUMENT = "A red kite circles.\nIt is noon.\n\n"
ARTICLE = json.dumps({"title": "Noon", "text": "Noon\n\nThe ferry leaves."}) + "\n"


def compress(path: Path, ending: str) -> Path:
    """Replace a file by its compressed copy."""
    written = path.with_name(path.name + ending)
    written.write_bytes(COMPRESS[ending](path.read_bytes()))
    path.unlink()
    return written


def blocks_of(path: Path, kind: str) -> list[bytes]:
    return list(decompressed_blocks(File(path, path.name, path.stat().st_size, 0, True), kind))


@pytest.mark.slow
def test_compressed_files_give_the_data_of_their_text(make, wiki, tmp_path, capsys):
    assert make("--input", wiki, out="plain") == 0
    first, *others = sorted((wiki / "AA").iterdir())
    compress(first, ".gz").rename(first)  # the name may lack the ending
    for path, ending in zip(others, COMPRESS, strict=True):
        compress(path, ending)
    capsys.readouterr()
    assert make("--input", wiki) == 0
    assert "wiki: 4 files, 0.0 MiB (4 of them compressed), read as wiki" in capsys.readouterr().err
    for name in TOKENS:
        assert (tmp_path / "plain" / name).read_bytes() == (tmp_path / "data" / name).read_bytes()
    metas = [json.loads((tmp_path / out / "meta.json").read_text()) for out in ("plain", "data")]
    [plain], [compressed] = (meta["sources"] for meta in metas)
    assert compressed["documents"] == plain["documents"] == 120
    size = sum(path.stat().st_size for path in (wiki / "AA").iterdir())
    assert compressed["bytes"] == size < plain["bytes"]


def test_a_compressed_file_is_one_piece_and_others_are_divided(tmp_path, wiki):
    compress(wiki / "AA/wiki_01", ".gz")
    pieces = cut([find_source(str(wiki))])
    spans = [span for piece in pieces for span in piece.spans if span.file.compressed]
    assert [(span.start, span.stop) for span in spans] == [(0, (wiki / "AA/wiki_01.gz").stat().st_size)]
    assert len([span for piece in pieces for span in piece.spans if span.file.name.endswith("wiki_00")]) > 3


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("wiki", "".join(article(i) for i in range(40))),
        ("json", ARTICLE * 400),
        ("text", DOCUMENT * 400),
        ("book", DOCUMENT * 400),
    ],
)
def test_blocks_begin_and_end_between_documents(tmp_path, monkeypatch, kind, text):
    monkeypatch.setattr(plan, "LARGEST", 8192)
    path = tmp_path / "file.gz"
    path.write_bytes(gzip.compress(text.encode()))
    found = blocks_of(path, kind)
    assert b"".join(found) == text.encode()
    least = 8192 if kind == "book" else 4096
    assert len(found) > 1
    assert all(least <= len(block) < 2 * least for block in found[:-1])
    begins = {"wiki": b"<doc ", "json": b"{", "text": b"A red", "book": b"A red"}[kind]
    assert all(block.startswith(begins) for block in found)


@pytest.mark.slow
def test_any_number_of_processes_and_held_tokens_gives_the_same_bytes(make, wiki, tmp_path, monkeypatch):
    for path in sorted((wiki / "AA").iterdir()):
        compress(path, ".bz2")
    flags = ["--input", wiki, "--shards", "2", "--valid-share", "0.2"]
    assert make(*flags, out="held") == 0
    monkeypatch.setattr("preprocess.corpus.encode_pieces.IN_MEMORY", 100)
    monkeypatch.setattr("preprocess.corpus.encode_pieces.BATCH", 300)
    assert make(*flags, "--workers", "3") == 0
    assert contents(tmp_path / "held") == contents(tmp_path / "data")


def test_clean_lines_reads_compressed_text(tmp_path):
    (tmp_path / "a.txt").write_text("It is noon. A kite.\n\nIt is dusk.\n")
    compress(tmp_path / "a.txt", ".xz")
    lines = ["It is noon.", "A kite.", "", "It is dusk.", ""]
    assert list(clean_lines([f"{tmp_path}/a.txt.xz=text"])) == lines


def test_an_incomplete_file_is_named(make, wiki, tmp_path, capsys):
    path = compress(wiki / "AA/wiki_01", ".gz")
    path.write_bytes(path.read_bytes()[:-40])
    assert make("--input", f"{wiki}=wiki") == 1
    error = capsys.readouterr().err.strip().split("\n")[-1]
    assert "wiki/AA/wiki_01.gz is damaged or incomplete (" in error
    assert not (tmp_path / "data").exists()


def test_a_wrong_encoding_names_the_line_of_the_text(make, tmp_path, capsys):
    text = DOCUMENT.encode() * 400 + "caf\xe9\n".encode("latin-1")
    (tmp_path / "a.txt").write_bytes(text)
    compress(tmp_path / "a.txt", ".gz")
    assert make("--input", f"{tmp_path}/a.txt.gz=text") == 1
    assert "a.txt.gz line 1201 is not UTF-8 (byte 0xe9)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "given", "message"),
    [
        (b"PK\x03\x04rest", "=text", "is an archive or another binary file"),
        (b"<mediawiki xmlns='x'>\n", "", "is a dump of MediaWiki: run WikiExtractor on it"),
        (bz2.compress(b"<mediawiki>\n"), "=text", "is a dump of MediaWiki: run WikiExtractor on it"),
        (b"\x01\x02\xff\0\0", "=text", "is a binary file, line 1 is not text: give a text file"),
    ],
)
def test_a_file_that_is_not_text_is_an_error(make, tmp_path, capsys, content, given, message):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a").write_bytes(content)
    assert make("--input", f"{tmp_path}/in{given}") == 1
    error = capsys.readouterr().err.strip().split("\n")[-1]
    assert message in error
    assert "iconv" not in error


def test_a_file_compressed_and_decompressed_is_an_error(wiki):
    path = compress(wiki / "AA/wiki_01", ".bz2")
    path.with_suffix("").write_bytes(bz2.decompress(path.read_bytes()))
    with pytest.raises(DataError, match=r"has wiki/AA/wiki_01.bz2 and wiki/AA/wiki_01, the same text"):
        find_source(str(wiki))


@pytest.fixture(params=["plain", "compressed"])
def divide(request, tmp_path, monkeypatch):
    """Return a function that divides a text, in a plain or a compressed file, into small pieces or blocks."""

    def divided(text: str, kind: str) -> list[bytes]:
        path = tmp_path / "corpus"
        path.write_text(text)
        if request.param == "compressed":
            return blocks_of(compress(path, ".gz"), kind)
        return texts(cut([find_source(f"{path}={kind}")]))

    monkeypatch.setattr(plan, "SMALLEST", 100)
    monkeypatch.setattr(plan, "LARGEST", 300)
    return divided


def test_text_without_blank_lines_is_cut_at_line_ends(divide):
    found = divide("A red kite circles.\n" * 200, "text")
    assert b"".join(found) == b"A red kite circles.\n" * 200
    assert all(piece.endswith(b"circles.\n") and len(piece) <= 300 + 100 + 40 for piece in found)


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        ("short\n" + "x" * 1000, "text", r"^corpus(\.gz)? line 2 is longer than"),
        ('<doc id="1">\n' + "word\n" * 200, "wiki", r"^corpus(\.gz)? line \d+ is in an article above"),
    ],
)
def test_an_endless_line_or_article_is_an_error(divide, text, kind, message):
    with pytest.raises(DataError, match=message):
        divide(text, kind)
