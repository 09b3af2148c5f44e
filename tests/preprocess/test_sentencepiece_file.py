"""SentencePiece models: pieces and scores are those of the library, other kinds are refused."""

import pytest
from sentencepiece import SentencePieceProcessor

from preprocess.errors import DataError
from preprocess.sentencepiece_file import read_unigram
from tests.preprocess.test_tokenizer_files import trained_sentencepiece


def test_pieces_and_scores_are_those_of_the_library(tmp_path):
    model = trained_sentencepiece()
    (tmp_path / "a.model").write_bytes(model)
    found, library = read_unigram(tmp_path / "a.model"), SentencePieceProcessor(model_proto=model)
    expected = [(library.id_to_piece(i), library.get_score(i)) for i in range(library.get_piece_size())]
    assert found.pieces == expected
    assert len(found.charsmap) > 1000


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model_type": "bpe"}, "is not a unigram model"),
        ({"user_defined_symbols": "<ent>"}, "has '<ent>', which is no normal piece"),
        ({"byte_fallback": True, "vocab_size": 310}, "has '<0x00>', which is no normal piece"),
    ],
)
def test_other_models_are_refused(tmp_path, options, message):
    (tmp_path / "a.model").write_bytes(trained_sentencepiece(**options))
    with pytest.raises(DataError, match=message):
        read_unigram(tmp_path / "a.model")


@pytest.mark.parametrize("cut", [0, 1, 500, -1])
def test_damaged_files_are_named(tmp_path, cut):
    (tmp_path / "a.model").write_bytes(trained_sentencepiece()[:cut])
    with pytest.raises(DataError, match="a.model is not a SentencePiece model"):
        read_unigram(tmp_path / "a.model")
