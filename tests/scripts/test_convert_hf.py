"""`scripts/convert_hf.py`: the files, the log and the errors of import and export."""

import json
import re
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, normalizers, pre_tokenizers
from torch.testing import assert_close

from fairseq_kd.errors import CannotStart
from fairseq_kd.models.checkpoint import read_checkpoint
from preprocess import meta
from preprocess.corpus.__main__ import main as preprocess_corpus
from preprocess.encoders import load_encoder
from preprocess.glue import main as preprocess_glue
from scripts.convert_hf import import_model, main
from tests.convert.conftest import edit_weights, export, export_refusal, labelled, load, refusal
from tests.preprocess.corpus.conftest import read_rows
from tests.preprocess.hugging_face_folders import ADDED, GENERIC, byte_level_model, write_folder
from tests.processes import run
from tests.tiny import ROOT, write_data, write_teacher

TEXTS = ["The [E1]FERRY[E2] leaves", "a café  <ent> Kite", "the [e1] mill"]


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.slow
def test_the_command_runs_from_any_folder(save_model, tmp_path):
    names = {"id2label": {0: "no", 1: "yes"}, "label2id": {"no": 0, "yes": 1}}
    _, folder = save_model("BertForSequenceClassification", **names)
    done = run(["python", ROOT / "scripts/convert_hf.py", "import", folder.name, "teacher"], cwd=tmp_path)

    assert done.returncode == 0, done.stderr
    for line in ("3 layers, width 24, 4 heads, ffn 40", "eps 1e-12", "classification (no, yes)", "nothing"):
        assert line in done.stdout
    assert names_in(tmp_path / "teacher") == ["dict.txt", "model.pt", "tokenizer_config.json", "vocab.txt"]

    checkpoint = read_checkpoint(str(tmp_path / "teacher"), "--teacher")
    assert checkpoint.classes("sentence_classification_head") == 2
    assert (checkpoint.shape.segments, checkpoint.shape.pair_format) == (2, "bert")
    assert checkpoint.shape.max_positions == 48
    assert checkpoint.dictionary_hash


@pytest.mark.parametrize(("positions", "limit"), [(48, " --max-positions 48"), (512, "")])
def test_an_import_prints_the_limit_of_the_next_command_and_lost_settings(
    save_model, tmp_path, capsys, positions, limit
):
    _, folder = save_model("BertModel", max_position_embeddings=positions)
    config = {"do_lower_case": True, "truncation_side": "left"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    import_model(folder, tmp_path / "teacher")
    output = capsys.readouterr().out
    assert output.endswith(f"--encoder-dir {tmp_path / 'teacher'}{limit}\n")
    assert "truncation on the left" in output


def test_classes_can_be_named(save_model, tmp_path, capsys):
    _, folder = save_model("BertForSequenceClassification")
    import_model(folder, tmp_path / "teacher")
    assert "  classes     not named in config.json: " in capsys.readouterr().out

    names = ["entailment", "not_entailment"]
    main(["import", str(folder), str(tmp_path / "teacher"), "--class-names", ",".join(names)])
    assert read_checkpoint(str(tmp_path / "teacher"), "--teacher").class_names == tuple(names)
    assert "classification (entailment, not_entailment)\n" in (output := capsys.readouterr().out)
    assert "not named" not in output

    with pytest.raises(CannotStart, match="--class-names a,b,c has 3 different names, but .* has 2 classes"):
        main(["import", str(folder), str(tmp_path / "other"), "--class-names", "a,b,c"])
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        (None, "has no config.json"),
        ("{", "is not valid JSON"),
        ("[]", "is JSON but not an object"),
        ('{"model_type": "bert", "vocab_size": 9, "hidden_size": 4}',
         "has a config.json without num_hidden_layers, num_attention_heads, intermediate_size"),
    ],
)  # fmt: skip
def test_folders_that_are_not_models_are_refused(tmp_path, config, sentence):
    (tmp_path / "source").mkdir()
    if config is not None:
        (tmp_path / "source" / "config.json").write_text(config)
    assert sentence in refusal(tmp_path / "source")


@pytest.mark.parametrize(
    ("out", "sentence"),
    [
        ("BertModel", "is the model's own folder"),
        ("notes", "is a file: name a folder"),
        ("notes/teacher", "cannot be read or written (Not a directory)"),
        ("text", "has notes.txt, so no import created this folder"),
        ("encoder", "has vocab.txt, so no import created this folder"),
    ],
)
def test_an_import_replaces_no_files_of_others(save_model, tmp_path, out, sentence):
    _, folder = save_model("BertModel")
    (tmp_path / "notes").write_text("mine")
    for name in ("text/notes.txt", "encoder/vocab.txt"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text("mine")
    before = {path: path.is_file() and path.read_bytes() for path in tmp_path.rglob("*")}
    with pytest.raises(CannotStart, match=re.escape(sentence)):
        import_model(folder, tmp_path / out)
    assert {path: path.is_file() and path.read_bytes() for path in tmp_path.rglob("*")} == before


def test_an_import_replaces_another_whole_or_leaves_it_as_it_was(save_model, tmp_path, monkeypatch):
    _, bert = save_model("BertModel")
    _, roberta = save_model("RobertaModel")
    out = tmp_path / "teacher"
    import_model(bert, out)
    import_model(roberta, out)
    assert names_in(out) == ["dict.txt", "encoder.json", "model.pt", "vocab.bpe"]
    before = {path.name: path.read_bytes() for path in out.iterdir()}

    edit_weights(roberta, **{"encoder.layer.1.output.dense.weight": None})
    with pytest.raises(CannotStart, match="has no weights encoder"):
        import_model(roberta, out)

    def fail(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(torch, "save", fail)
        with pytest.raises(CannotStart, match=r"teacher cannot be read or .* \(No space left on device\)"):
            import_model(bert, out)

    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    assert not list(tmp_path.glob(".*"))


def test_the_export_is_summarised(save_model, tmp_path, capsys):
    _, folder = save_model("RobertaForSequenceClassification", id2label={0: "no", 1: "yes"})
    import_model(folder, tmp_path / "teacher")
    capsys.readouterr()
    out = export(tmp_path / "teacher", tmp_path / "out")
    assert capsys.readouterr().out.splitlines() == [
        f"{out}: RobertaForSequenceClassification, 3 layers, width 24, 4 heads, ffn 40",
        "  labels      no, yes",
        "  tokenizer   gpt2",
        "  left out    nothing",
        f'Load it: transformers.AutoModelForSequenceClassification.from_pretrained("{out}")',
    ]
    card = (out / "README.md").read_text()
    assert "Classes: 0 no, 1 yes." in card
    assert f'from_pretrained("{out.name}")' in card
    assert str(tmp_path) not in card
    tokenizer = "tokenizer.json tokenizer_config.json vocab.json".split()
    assert names_in(out) == ["README.md", "config.json", "merges.txt", "model.safetensors", *tokenizer]


def test_classes_have_the_names_of_the_training_data(tmp_path):
    data = labelled(tmp_path / "RTE-bin", "entailment", "not_entailment")
    model = write_teacher(tmp_path / "model.pt", task={"data": str(data)})
    config = load(export(model, tmp_path / "out", "--without-tokenizer")).config
    assert config.id2label == {0: "entailment", 1: "not_entailment"}
    assert config.label2id == {"entailment": 0, "not_entailment": 1}
    assert config.problem_type == "single_label_classification"


@pytest.mark.slow
def test_dictionaries_that_fairseq_filled_up(tmp_path):
    data = labelled(tmp_path / "data", "b", "a", "madeupword0000", "madeupword0001")
    (data / "meta.json").unlink()
    model = write_teacher(tmp_path / "model.pt")
    config = load(export(model, tmp_path / "out", "--data", data, "--without-tokenizer")).config
    assert config.id2label == {0: "b", 1: "a"}


def test_a_regression(tmp_path, capsys):
    data = labelled(tmp_path / "data", score_scale=5.0)
    model = write_teacher(tmp_path / "model.pt", classes=1)
    config = load(export(model, tmp_path / "out", "--data", data, "--without-tokenizer")).config
    assert (config.num_labels, config.problem_type, config.id2label) == (1, "regression", {0: "LABEL_0"})
    assert "  labels      LABEL_0, 1/5 of the task's score\n" in capsys.readouterr().out


def test_a_first_stages_untrained_head_stays_here(tmp_path, capsys):
    data = labelled(tmp_path / "data", score_scale=5.0)
    model = write_teacher(tmp_path / "model.pt", classes=1, criterion={"hard_weight": 0, "soft_weight": 0})
    load(export(model, tmp_path / "out", "--data", data, "--without-tokenizer"), "")
    lines = capsys.readouterr().out.splitlines()
    assert "  left out    classification head sentence_classification_head" in lines
    assert "  labels      none" in lines


def test_data_of_another_task_and_used_folders_are_refused(tmp_path):
    model = write_teacher(tmp_path / "model.pt", classes=3)
    data = write_data(tmp_path / "data")
    found = export_refusal(model, tmp_path / "out", "--data", data, "--without-tokenizer")
    assert f"has 3 classes, but {data} has 2: give the data it was fine-tuned on (--data)" in found
    found = export_refusal(model, data, "--without-tokenizer")
    assert "exists and is not empty: name a new folder" in found
    with pytest.raises(CannotStart, match="cannot be read or written"):
        export(model, model / "out", "--without-tokenizer")


def predictions(folder: Path) -> tuple[list[list[int]], torch.Tensor]:
    """Ids and logits of transformers, from text."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    batch = tokenizer(TEXTS, TEXTS[::-1], padding=True, return_tensors="pt")
    with torch.no_grad():
        logits = AutoModelForSequenceClassification.from_pretrained(folder).eval()(**batch).logits
    return tokenizer(TEXTS)["input_ids"], logits


@pytest.mark.slow
def test_a_tokenizer_with_parts_of_its_own_from_the_import_to_the_export(save_model, tmp_path, capsys):
    """A RoBERTa with six added tokens, which lower-cases and puts a space before the text, and 8 rows too many."""
    words = Tokenizer(byte_level_model()).get_vocab_size() + len(ADDED) + 8
    _, source = save_model("RobertaForSequenceClassification", vocab_size=words)
    parts = {"normalizer": normalizers.Lowercase(), "pre_tokenizer": pre_tokenizers.ByteLevel()}
    made = write_folder(tmp_path / "tokenizer", "roberta", GENERIC, added=ADDED, **parts)
    for name in ("vocab.json", "merges.txt"):
        (source / name).unlink()
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (made / name).rename(source / name)

    out = tmp_path / "teacher"
    import_model(source, out)
    said = capsys.readouterr().out
    assert "  tokenizer   BPE, Lowercase, ByteLevel with a prefix space, 6 added tokens\n" in said
    assert "  left out    8 word embeddings without an entry in the vocabulary\n" in said
    assert names_in(out) == ["dict.txt", "model.pt", "tokenizer.json", "tokenizer_config.json"]

    export(out, tmp_path / "exported")
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
