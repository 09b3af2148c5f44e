import pytest

from preprocess.corpus import plan_pieces as plan
from preprocess.corpus.input_files import find_source
from preprocess.corpus.plan_pieces import cut
from tests.preprocess.corpus.conftest import article

DOCUMENT = "A red kite circles.\nIt is noon.\n\n"


def texts(pieces) -> list[bytes]:
    return [
        b"".join(span.file.path.read_bytes()[span.start : span.stop] for span in piece.spans)
        for piece in pieces
    ]


@pytest.mark.parametrize(
    ("kind", "step", "pieces"),
    [
        ("text", 32, 20),
        ("text", 33, 10),
        ("text", 34, 10),
        ("text", 660, 1),
        ("wiki", 1, 20),
        ("json", 1, 20),
    ],
)
def test_a_file_is_cut_between_documents(tmp_path, monkeypatch, kind, step, pieces):
    monkeypatch.setattr(plan, "SMALLEST", step)
    made = {"wiki": article, "json": lambda i: f'{{"text": "{i * "word "}"}}\n', "text": lambda _: DOCUMENT}
    documents = [made[kind](i) for i in range(20)]
    path = tmp_path / "corpus"
    path.write_text("".join(documents))

    found = texts(cut([find_source(f"{path}={kind}")]))
    assert b"".join(found) == path.read_bytes()
    assert all(piece.startswith((b"<doc ", b"{", b"A red")) for piece in found)
    assert len(found) == pieces
    assert all(len(piece) >= step for piece in found[:-1])


def test_small_files_are_taken_together_and_books_left_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(plan, "SMALLEST", 100)
    for name in "abcdef":
        (tmp_path / name).write_text(DOCUMENT * (50 if name == "f" else 1))
    pieces = cut([find_source(f"{tmp_path}=book")])
    assert [[span.file.path.name for span in piece.spans] for piece in pieces] == [list("abcd"), list("ef")]
    assert [piece.number for piece in pieces] == [0, 1]
