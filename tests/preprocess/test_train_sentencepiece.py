import gzip

import pytest

from preprocess.errors import DataError
from preprocess.train_sentencepiece import main, train
from preprocess.vocabulary import read_dictionary

TEXT = "the ferry leaves the harbour\nnobody said the bread was stale\na red kite over the old mill\n" * 20


@pytest.fixture
def text(tmp_path):
    (tmp_path / "text.txt").write_text(TEXT)
    return tmp_path / "text.txt"


def test_the_model_depends_only_on_the_text(text, tmp_path):
    moved = tmp_path / "elsewhere.txt"
    moved.write_text(TEXT)
    compressed = tmp_path / "text.txt.gz"
    compressed.write_bytes(gzip.compress(TEXT.encode()))
    models = []
    for number, given in enumerate((text, moved, compressed)):
        train([given], vocab_size=30, out=tmp_path / f"{number}")
        models.append((tmp_path / f"{number}/sentencepiece.model").read_bytes())
    assert models[0] == models[1] == models[2]


def test_the_dictionary_has_every_piece_but_the_specials(text, tmp_path, capsys):
    assert main([str(text), "--vocab-size", "40", "--kind", "bpe", "--out", str(tmp_path / "sp")]) == 0
    assert len(read_dictionary(tmp_path / "sp" / "dict.txt")) == 40 - 3
    assert "encoder with 40 pieces" in capsys.readouterr().out


def test_a_too_large_vocabulary_is_an_error_and_leaves_no_folder(text, tmp_path, capsys):
    assert main([str(text), "--vocab-size", "5000", "--out", str(tmp_path / "sp")]) == 1
    assert "--vocab-size 5000: training a unigram model on this text failed" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["text.txt"]


def test_running_text_is_cleaned_first(tmp_path):
    (tmp_path / "wiki").mkdir()
    body = "\n".join(f"A Title\n\n{TEXT.splitlines()[i % 3]}." for i in range(3))
    documents = "".join(f'<doc id="{i}" title="A Title">\n{body}\n</doc>\n' for i in range(20))
    (tmp_path / "wiki" / "wiki_00").write_text(documents)
    train([], vocab_size=30, out=tmp_path / "sp", inputs=[str(tmp_path / "wiki")])
    assert "<" not in "".join(read_dictionary(tmp_path / "sp" / "dict.txt"))


def test_missing_text_and_existing_folder_are_refused(text, tmp_path):
    with pytest.raises(DataError, match="absent.txt is not a file"):
        train([tmp_path / "absent.txt"], vocab_size=30, out=tmp_path / "sp")
    with pytest.raises(DataError, match="no text is given"):
        train([], vocab_size=30, out=tmp_path / "sp")
    with pytest.raises(DataError, match="already exists"):
        train([text], vocab_size=30, out=tmp_path)


def test_wrong_arguments_are_errors(text, tmp_path, capsys):
    for flag in ("--sentences", "--vocab-size"):
        assert main([str(text), flag, "-5", "--out", str(tmp_path / "sp")]) == 1
        assert f"{flag} -5 is out of range" in capsys.readouterr().err
    assert main([str(text), "--vocab-size", "30", "--out", str(text / "sp")]) == 1
    assert "Not a directory" in capsys.readouterr().err
