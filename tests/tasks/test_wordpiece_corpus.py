"""A student made of nothing joins pairs as the text it was pre-trained on is encoded."""

import random

import pytest
import torch

from preprocess.corpus.__main__ import main as make_corpus
from preprocess.glue import main as make_pairs
from tests.tiny import batch, build

WORDS = "the ferry leaves harbour nobody said bread was stale a red kite circles over old mill".split()
SIZES = {"encoder_layers": 2, "encoder_embed_dim": 16, "encoder_ffn_embed_dim": 32, "encoder_attention_heads": 4,
         "max_positions": 32}  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    """Write a WordPiece vocabulary, and running text and sentence pairs of its words; return the folder."""
    draw = random.Random(1)

    def sentence():
        return " ".join(draw.choices(WORDS, k=6))

    (tmp_path / "bert").mkdir()
    entries = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS, "."]
    (tmp_path / "bert" / "vocab.txt").write_text("\n".join(entries) + "\n")
    (tmp_path / "bert" / "tokenizer_config.json").write_text('{"do_lower_case": true}')
    (tmp_path / "text").write_text("\n\n".join(f"{sentence()}. {sentence()}." for _ in range(40)))
    for split in ("train", "dev"):
        rows = (f"{n}\t{sentence()}\t{sentence()}\t{('not_' * (n % 2))}entailment" for n in range(8))
        (tmp_path / f"{split}.tsv").write_text(
            "\n".join(["index\tsentence1\tsentence2\tlabel", *rows]) + "\n"
        )

    encoder = ["--encoder-dir", str(tmp_path / "bert"), "--workers", "1"]
    text = ["--input", f"{tmp_path}/text=text", "--longest", "20", "--out", str(tmp_path / "corpus")]
    assert make_corpus([*encoder, *text, "--valid-share", "0.2"]) == 0
    files = ["--train-file", str(tmp_path / "train.tsv"), "--dev-file", str(tmp_path / "dev.tsv")]
    pairs = ["--tasks", "RTE", *files, "--splits", "train,valid", "--out", str(tmp_path)]
    assert make_pairs([*encoder, *pairs]) == 0
    return tmp_path


def test_a_student_of_a_wordpiece_corpus_is_fine_tuned_on_pairs(folder):
    plain = {"hard_weight": 1.0, "soft_weight": 0.0}
    task = {"tokens_per_sample": 24}
    _, student, _ = build(folder / "corpus", None, "kd", layers="random", model=SIZES, task=task,
                          task_name="masked_lm_kd", **plain)  # fmt: skip
    config = {"_name": "roberta_student", **student.shape.config()}
    assert (config["pair_format"], config["segments"]) == ("bert", 2)
    torch.save({"args": None, "cfg": {"model": config}, "model": student.state_dict()}, folder / "student.pt")

    model = {"init_from": str(folder / "student.pt")}
    task, student, criterion = build(folder / "RTE-bin", None, "kd", layers="all", model=model, **plain)
    sample = batch(task, range(4))
    assert task.metadata.pair_format == "bert"
    assert criterion(student, sample)[0].isfinite()
