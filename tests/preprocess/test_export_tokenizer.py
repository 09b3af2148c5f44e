"""Exported tokenizers, as transformers reads them, number every text as the encoder does."""

import itertools
import shutil
from pathlib import Path

import pytest

from preprocess.binarize import SPECIALS_IN_PAIR, shorten
from preprocess.encoders import load_encoder
from preprocess.errors import DataError
from preprocess.export_tokenizer import export_tokenizer
from tests.preprocess.conftest import AWKWARD
from tests.preprocess.hugging_face_folders import joined

KINDS = ["gpt2", "wordpiece"]


def export(source: Path, target: Path, max_positions: int = 5000, segments: bool = True, masks: bool = False):
    """Return our encoder, and the tokenizer that transformers reads."""
    from transformers import AutoTokenizer

    encoder = load_encoder(source)
    target.mkdir()
    export_tokenizer(encoder, source, target, max_positions, segments, masks)
    return encoder, AutoTokenizer.from_pretrained(target)


@pytest.fixture(params=KINDS)
def folder(request) -> Path:
    return request.getfixturevalue(f"{request.param}_folder")


@pytest.mark.parametrize("file", ["tokenizer.json", "vocabulary"])
def test_each_of_the_two_forms_is_sufficient(folder, tmp_path, file):
    from transformers import AutoTokenizer

    encoder, _ = export(folder, tmp_path / "out")
    plain = ["vocab.json", "merges.txt", "vocab.txt"]
    for name in ["tokenizer.json"] if file == "vocabulary" else plain:
        (tmp_path / "out" / name).unlink(missing_ok=True)
    found = AutoTokenizer.from_pretrained(tmp_path / "out")(AWKWARD)["input_ids"]
    assert found == [joined(encoder, row) for row in encoder.encode(AWKWARD)]


@pytest.mark.parametrize("limit", [3, 4, 9])
def test_pairs_are_cut_as_preprocess_glue_cuts_them(folder, tmp_path, limit):
    specials = SPECIALS_IN_PAIR[load_encoder(folder).pair_format]
    encoder, tokenizer = export(folder, tmp_path / "out", max_positions=limit + specials)
    words = "the bread and the ferry said nobody leaves 1 2 3 4 5 6".split()
    for lengths in itertools.product(range(1, 15, 2), range(1, 15, 3)):
        texts = [" ".join(words[:length]) for length in lengths]
        cut = tuple(encoder.encode(texts))
        shorten(cut, limit)
        assert tokenizer(*texts, truncation=True)["input_ids"] == joined(encoder, *cut)


def test_token_types_are_those_of_the_model(wordpiece_folder, tmp_path):
    _, with_types = export(wordpiece_folder, tmp_path / "two")
    assert with_types("the ferry", "leaves")["token_type_ids"] == [0, 0, 0, 0, 1, 1]
    _, without = export(wordpiece_folder, tmp_path / "none", segments=False)
    assert set(without("the ferry", "leaves")) == {"input_ids", "attention_mask"}


@pytest.mark.parametrize("kind", KINDS)
def test_specials_and_padding(request, tmp_path, kind):
    encoder, tokenizer = export(request.getfixturevalue(f"{kind}_folder"), tmp_path / "out")
    last = len(encoder.symbols) + 4
    assert [tokenizer.cls_token_id, tokenizer.pad_token_id, tokenizer.sep_token_id] == [0, 1, 2]
    assert [tokenizer.unk_token_id, tokenizer.mask_token_id, len(tokenizer)] == [3, last, last + 1]
    short, _ = tokenizer(["the", "the ferry leaves"], padding=True)["input_ids"]
    assert short[-1] == 1


def test_decoding_restores_text(gpt2_folder, tmp_path):
    _, tokenizer = export(gpt2_folder, tmp_path / "out")
    text = " Nobody said  naïve 中文 😀?"
    assert tokenizer.decode(tokenizer(text)["input_ids"], skip_special_tokens=True) == text


def test_words_that_the_bpe_cannot_make_keep_their_rows(gpt2_folder, tmp_path):
    shutil.copytree(gpt2_folder, tmp_path / "filled")
    lines = (gpt2_folder / "dict.txt").read_text().splitlines()
    lines[7:7] = ["madeupword0000 0", "\\12 0", "99999 0"]
    (tmp_path / "filled" / "dict.txt").write_text("\n".join(lines) + "\n")
    encoder, tokenizer = export(tmp_path / "filled", tmp_path / "out")
    assert tokenizer.convert_ids_to_tokens([11, 12, 13]) == ["madeupword0000", "\\12", "99999"]
    assert tokenizer(AWKWARD)["input_ids"] == [joined(encoder, row) for row in encoder.encode(AWKWARD)]


def changed_dictionary(source: Path, target: Path, change) -> Path:
    shutil.copytree(source, target)
    lines = change((source / "dict.txt").read_text().splitlines())
    (target / "dict.txt").write_text("\n".join(lines) + "\n")
    return target


def test_an_encoder_that_transformers_cannot_reproduce_is_refused(
    gpt2_folder, sentencepiece_folder, tmp_path
):
    short = changed_dictionary(gpt2_folder, tmp_path / "short", lambda lines: lines[:-2])
    repeated = changed_dictionary(gpt2_folder, tmp_path / "repeated", lambda lines: [*lines, lines[5]])
    for source, sentence in [
        (short, "dict.txt lacks 2 tokens"),
        (repeated, "has .* twice"),
        (sentencepiece_folder, "is a sentencepiece encoder"),
    ]:
        with pytest.raises(DataError, match=f"{sentence}.*--without-tokenizer"):
            export(source, tmp_path / f"out-{source.name}")
