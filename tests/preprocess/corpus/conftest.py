"""Small corpora of each kind, and the command that encodes them."""

import random
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from preprocess.corpus.__main__ import main
from tests.preprocess.conftest import SENTENCES

WORDS = [word for sentence in SENTENCES for word in sentence.rstrip(".?").split()]


def sentence(generator: random.Random) -> str:
    words = [generator.choice(WORDS) for _ in range(generator.randint(3, 12))]
    return " ".join(words).capitalize() + "."


def article(number: int) -> str:
    """Return a WikiExtractor article of a few paragraphs, the same for the same number."""
    generator = random.Random(number)
    text = ""
    for _ in range(generator.randint(2, 8)):
        text += " ".join(sentence(generator) for _ in range(generator.randint(1, 5))) + "\n"
    head = f'<doc id="{number}" url="http://wiki/{number}" title="Article {number}">\nArticle {number}\n\n'
    return f"{head}{text}</doc>\n"


def write_wiki(folder: Path, files: int, articles: int) -> Path:
    """Write `files` files AA/wiki_00 ... of `articles` articles each."""
    (folder / "AA").mkdir(parents=True)
    for i in range(files):
        text = "".join(article(i * articles + j) for j in range(articles))
        (folder / "AA" / f"wiki_{i:02}").write_text(text, encoding="utf-8")
    return folder


@pytest.fixture
def wiki(tmp_path) -> Path:
    return write_wiki(tmp_path / "wiki", files=4, articles=30)


@pytest.fixture
def small_pieces(monkeypatch):
    """Pieces of 4 KiB, so that a small corpus has many."""
    monkeypatch.setattr("preprocess.corpus.plan_pieces.SMALLEST", 4096)


@pytest.fixture
def make(tmp_path, wordpiece_folder):
    """Return a function that runs the command in this process and returns its exit status."""

    def call(*arguments, out="data", encoder=wordpiece_folder):
        how = [] if "--merge" in arguments else ["--encoder-dir", str(encoder), "--workers", "1"]
        return main([*how, "--out", str(tmp_path / out), *map(str, arguments)])

    return call


def start(*arguments, setup: str = "") -> subprocess.Popen:
    """Start the command as a process; `setup` is Python code that runs before it."""
    code = f"import sys\n{setup}\nfrom preprocess.corpus.__main__ import main\nsys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def read_rows(prefix: Path) -> list[list[int]]:
    """Return the rows of `<prefix>.bin`, read according to the format, not by our own code."""
    index = Path(f"{prefix}.idx").read_bytes()
    assert index[:9] == b"MMIDIDX\x00\x00"
    version, code, rows = struct.unpack_from("<QBQ", index, 9)
    assert version == 1
    sizes = np.frombuffer(index, np.int32, rows, 26)
    offsets = np.frombuffer(index, np.int64, rows, 26 + 4 * rows)
    assert len(index) == 26 + 12 * rows
    tokens = np.fromfile(f"{prefix}.bin", {8: np.uint16, 9: np.uint32}[code])
    width = tokens.itemsize
    assert [*offsets // width, len(tokens)] == [0, *np.cumsum(sizes)]
    return [tokens[at // width :][:size].tolist() for at, size in zip(offsets, sizes, strict=True)]


def contents(folder: Path) -> dict[str, bytes]:
    """Return the content of every file below the folder."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
