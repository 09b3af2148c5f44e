"""A tokenizer with parts of its own goes the whole way: import, data, model, export, predictions from text."""

import json
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, normalizers, pre_tokenizers
from torch.testing import assert_close

from fairseq_kd.errors import CannotStart
from preprocess import meta
from preprocess.corpus.__main__ import main as preprocess_corpus
from preprocess.encoders import load_encoder
from preprocess.glue import main as preprocess_glue
from scripts.convert_hf import import_model, main
from tests.preprocess.corpus.conftest import read_rows
from tests.preprocess.test_tokenizer_files import ADDED, GENERIC, byte_level_model, write_folder

TEXTS = ["The [E1]FERRY[E2] leaves", "a café  <ent> Kite", "the [e1] mill"]
WORDS = Tokenizer(byte_level_model()).get_vocab_size()
PADDED = 8


@pytest.fixture
def save_source(save_model, tmp_path):
    """Return a function that saves a RoBERTa with six added tokens, which lower-cases and puts a space before the text."""

    def save(words: int) -> Path:
        model, folder = save_model("RobertaForSequenceClassification", vocab_size=words)
        for name in ("vocab.json", "merges.txt"):
            (folder / name).unlink()
        parts = {"normalizer": normalizers.Lowercase(), "pre_tokenizer": pre_tokenizers.ByteLevel()}
        made = write_folder(tmp_path / "tokenizer", "roberta", GENERIC, added=ADDED, **parts)
        for name in ("tokenizer.json", "tokenizer_config.json"):
            (made / name).rename(folder / name)
        return folder

    return save


def predictions(folder: Path) -> tuple[list[list[int]], torch.Tensor]:
    """Ids and logits of transformers, from text."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    batch = tokenizer(TEXTS, TEXTS[::-1], padding=True, return_tensors="pt")
    with torch.no_grad():
        logits = AutoModelForSequenceClassification.from_pretrained(folder).eval()(**batch).logits
    return tokenizer(TEXTS)["input_ids"], logits


@pytest.mark.slow
def test_from_the_import_to_the_export(save_source, tmp_path, capsys):
    source, out = save_source(WORDS + len(ADDED) + PADDED), tmp_path / "teacher"
    import_model(source, out)
    said = capsys.readouterr().out
    assert "  tokenizer   BPE, Lowercase, ByteLevel with a prefix space, 6 added tokens\n" in said
    assert "  left out    8 word embeddings without an entry in the vocabulary\n" in said
    assert sorted(path.name for path in out.iterdir()) == [
        "dict.txt",
        "model.pt",
        "tokenizer.json",
        "tokenizer_config.json",
    ]

    main(["export", "--checkpoint", str(out), "--out", str(tmp_path / "exported")])
    (_, theirs), (rows, ours) = predictions(source), predictions(tmp_path / "exported")
    assert_close(ours, theirs, atol=1e-5, rtol=1e-5)

    (tmp_path / "SST-2").mkdir()
    lines = "".join(f"{text}\t{number % 2}\n" for number, text in enumerate(TEXTS))
    for split in ("train", "dev"):
        (tmp_path / "SST-2" / f"{split}.tsv").write_text(f"sentence\tlabel\n{lines}")
    flags = ["--encoder-dir", str(out), "--out"]
    assert preprocess_glue(["--glue-dir", str(tmp_path), "--tasks", "SST-2", *flags, str(tmp_path)]) == 0
    data = tmp_path / "SST-2-bin"
    assert [[0, *row] for row in read_rows(data / "input0" / "train")] == rows
    assert (data / "input0" / "dict.txt").read_bytes() == (out / "dict.txt").read_bytes()
    found = meta.read(data)["encoder"]
    assert found == {"name": "huggingface", "lowercase": True, "hash": load_encoder(out).hash}

    (tmp_path / "text.txt").write_text("\n".join(TEXTS))
    given = ["--input", f"{tmp_path / 'text.txt'}=text", "--valid-share", "0", "--workers", "1"]
    assert preprocess_corpus([*given, *flags, str(tmp_path / "corpus")]) == 0
    assert [[0, *row] for row in read_rows(tmp_path / "corpus" / "train") if row != [2]] == rows


def test_the_class_in_config_json_counts(save_model, tmp_path):
    _, folder = save_model("BertModel")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "tokenizer_class": "BertJapaneseTokenizer"}))
    with pytest.raises(
        CannotStart, match="has the tokenizer_class BertJapaneseTokenizer, but supported classes are"
    ):
        import_model(folder, tmp_path / "teacher")


def test_truncation_on_the_left_is_dropped_and_reported(save_model, tmp_path, capsys):
    _, folder = save_model("BertModel")
    config = {"do_lower_case": True, "truncation_side": "left"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    import_model(folder, tmp_path / "teacher")
    assert "truncation on the left" in capsys.readouterr().out
