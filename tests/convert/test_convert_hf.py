"""`scripts/convert_hf.py import` from the outside: what it writes, what it says, what it refuses."""

import json
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from fairseq_kd.errors import CannotStart
from fairseq_kd.models.checkpoint import read_checkpoint
from scripts.convert_hf import import_model, main
from tests.processes import run

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "convert_hf.py"


def edit_config(folder: Path, **changes) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def edit_weights(folder: Path, **changes) -> None:
    weights = load_file(folder / "model.safetensors")
    weights.update(changes)
    save_file(
        {name: value for name, value in weights.items() if value is not None}, folder / "model.safetensors"
    )


def refusal(folder: Path, out: Path) -> str:
    with pytest.raises(CannotStart) as error:
        import_model(folder, out)
    assert not out.exists() or out == folder
    assert not list(out.parent.glob(".*"))
    return str(error.value)


@pytest.mark.slow
def test_the_command_runs_from_any_folder(save_model, tmp_path):
    _, folder = save_model(
        "BertForSequenceClassification", id2label={0: "no", 1: "yes"}, label2id={"no": 0, "yes": 1}
    )
    done = run(["python", SCRIPT, "import", folder.name, "teacher"], cwd=tmp_path)

    assert done.returncode == 0, done.stderr
    for line in ("3 layers, width 24, 4 heads, ffn 40", "eps 1e-12", "classification (no, yes)", "nothing"):
        assert line in done.stdout
    written = sorted(path.name for path in (tmp_path / "teacher").iterdir())
    assert written == ["dict.txt", "model.pt", "tokenizer_config.json", "vocab.txt"]

    checkpoint = read_checkpoint(str(tmp_path / "teacher"), "--teacher")
    assert checkpoint.classes("sentence_classification_head") == 2
    assert (checkpoint.shape.segments, checkpoint.shape.pair_format) == (2, "bert")
    assert checkpoint.shape.max_positions == 48
    assert checkpoint.dictionary_hash


@pytest.mark.slow
def test_a_pooler_without_a_classifier_is_dropped_and_reported(save_model, tmp_path, capsys):
    _, folder = save_model("BertModel")
    import_model(folder, tmp_path / "teacher")
    assert "left out    pooler (without a classifier)" in capsys.readouterr().out
    assert not read_checkpoint(str(tmp_path / "teacher"), "--teacher").head("sentence_classification_head")


@pytest.mark.slow
@pytest.mark.parametrize("class_name", ["BertForMultipleChoice", "BertForTokenClassification"])
def test_heads_of_other_tasks_are_left_out(save_model, tmp_path, capsys, class_name):
    _, folder = save_model(class_name)
    import_model(folder, tmp_path / "teacher")
    output = capsys.readouterr().out
    assert "heads       none" in output
    assert "classifier" in output


@pytest.mark.parametrize("fewer", [0, 1])
def test_a_masked_lm_head_with_untied_words_is_dropped(save_model, tmp_path, capsys, fewer):
    _, folder = save_model("RobertaForMaskedLM")
    words = load_file(folder / "model.safetensors")["roberta.embeddings.word_embeddings.weight"]
    edit_weights(folder, **{"lm_head.decoder.weight": torch.zeros(len(words) - fewer, 24)})
    import_model(folder, tmp_path / "teacher")
    assert "masked-LM head (its output matrix is not tied to the embeddings)" in capsys.readouterr().out


def test_old_layernorm_names_and_half_precision(save_model, tmp_path):
    _, folder = save_model("BertModel")
    import_model(folder, tmp_path / "new")
    old = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
            "LayerNorm.bias", "LayerNorm.beta"
        ): value.half()
        for name, value in load_file(folder / "model.safetensors").items()
    }
    save_file(old, folder / "model.safetensors")
    import_model(folder, tmp_path / "old")

    first, second = (torch.load(tmp_path / name / "model.pt")["model"] for name in ("new", "old"))
    assert first.keys() == second.keys()
    for name in first:
        assert second[name].dtype == torch.float32
        torch.testing.assert_close(first[name], second[name], atol=1e-3, rtol=1e-3)


def test_code_in_a_pickle_is_not_run(save_model, tmp_path):
    _, folder = save_model("BertModel")
    (folder / "model.safetensors").unlink()
    torch.save({"weights": Path("x")}, folder / "pytorch_model.bin")
    assert "has objects other than tensors" in refusal(folder, tmp_path / "teacher")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"model_type": "distilbert"},
            "has a model of type distilbert: use one of bert, roberta, xlm-roberta",
        ),
        ({"position_embedding_type": "relative_key"}, "has relative_key positions"),
        ({"is_decoder": True}, "is a decoder"),
        ({"hidden_act": "silu"}, "uses the activation silu"),
    ],
)
def test_models_that_cannot_be_exact(save_model, tmp_path, changes, sentence):
    _, folder = save_model("BertModel")
    edit_config(folder, **changes)
    assert sentence in refusal(folder, tmp_path / "teacher")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"hidden_size": 32}, "has hidden_size 32, but weights of 24"),
        ({"intermediate_size": 41}, "has intermediate_size 41, but weights of 40"),
        ({"num_attention_heads": 5}, "has 5 attention heads, but a width of 24"),
    ],
)
def test_sizes_of_another_model(save_model, tmp_path, changes, sentence):
    _, folder = save_model("BertModel")
    edit_config(folder, **changes)
    assert f"{sentence}: use the config.json of the model" in refusal(folder, tmp_path / "teacher")


@pytest.mark.parametrize("class_name", ["BertForSequenceClassification", "RobertaForSequenceClassification"])
def test_values_that_may_be_null(save_model, tmp_path, class_name):
    _, folder = save_model(class_name)
    edit_config(folder, pad_token_id=None, id2label=None, architectures=None)
    import_model(folder, tmp_path / "teacher")
    checkpoint = torch.load(tmp_path / "teacher" / "model.pt")
    assert checkpoint["cfg"]["model"]["class_names"] == ["LABEL_0", "LABEL_1"]
    assert checkpoint["cfg"]["model"]["max_positions"] == (48 if class_name.startswith("Bert") else 46)


@pytest.mark.parametrize(("positions", "limit"), [(48, " --max-positions 48"), (512, "")])
def test_the_next_command_limits_inputs_to_what_the_model_takes(
    save_model, tmp_path, capsys, positions, limit
):
    _, folder = save_model("BertModel", max_position_embeddings=positions)
    import_model(folder, tmp_path / "teacher")
    assert capsys.readouterr().out.endswith(f"--encoder-dir {tmp_path / 'teacher'}{limit}\n")


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


def test_weights_that_have_no_place_inside_the_encoder(save_model, tmp_path):
    _, folder = save_model("BertModel")
    edit_weights(folder, **{"encoder.layer.1.adapter.down.weight": torch.zeros(2, 2)})
    assert "this package does not support (encoder.layer.1.adapter.down)" in refusal(
        folder, tmp_path / "teacher"
    )


def test_a_vocabulary_larger_than_the_embeddings(save_model, tmp_path):
    _, folder = save_model("BertModel")
    with (folder / "vocab.txt").open("a") as vocabulary:
        vocabulary.write("new\n")
    assert "33 word embeddings, but its vocabulary has ids up to 33" in refusal(folder, tmp_path / "teacher")


def test_folders_that_are_not_models(tmp_path):
    source, out = tmp_path / "source", tmp_path / "teacher"
    source.mkdir()
    assert "has no config.json" in refusal(source, out)
    for config, sentence in [
        ("{", "is not valid JSON"),
        ("[]", "is JSON but not an object"),
        (
            '{"model_type": "bert", "vocab_size": 9, "hidden_size": 4}',
            "has a config.json without num_hidden_layers, num_attention_heads, intermediate_size",
        ),
    ]:
        (source / "config.json").write_text(config)
        assert sentence in refusal(source, out)


def test_a_folder_without_weights(save_model, tmp_path):
    _, folder = save_model("BertModel")
    (folder / "model.safetensors").unlink()
    assert "neither model.safetensors nor pytorch_model.bin" in refusal(folder, tmp_path / "teacher")


def test_out_must_not_be_the_models_own_folder(save_model):
    _, folder = save_model("BertModel")
    assert "is the model's own folder" in refusal(folder, folder)


def test_out_must_not_be_a_file_or_below_one(save_model, tmp_path):
    _, folder = save_model("BertModel")
    (tmp_path / "notes").write_text("mine")
    for out, sentence in [
        (tmp_path / "notes", "is a file: name a folder"),
        (tmp_path / "notes" / "teacher", "cannot be read or written (Not a directory)"),
    ]:
        with pytest.raises(CannotStart, match=re.escape(sentence)):
            import_model(folder, out)
    assert (tmp_path / "notes").read_text() == "mine"


@pytest.mark.parametrize("name", ["notes.txt", "vocab.txt"])
def test_a_folder_that_no_import_made_is_not_replaced(save_model, tmp_path, name):
    _, folder = save_model("BertModel")
    out = tmp_path / "teacher"
    out.mkdir()
    (out / name).write_text("mine")
    with pytest.raises(CannotStart, match=f"has {name}, so no import created this folder"):
        import_model(folder, out)
    assert [path.name for path in out.iterdir()] == [name]


def test_another_import_replaces_the_folder_whole(save_model, tmp_path):
    _, bert = save_model("BertModel")
    _, roberta = save_model("RobertaModel")
    out = tmp_path / "teacher"
    import_model(bert, out)
    import_model(roberta, out)
    assert sorted(path.name for path in out.iterdir()) == [
        "dict.txt",
        "encoder.json",
        "model.pt",
        "vocab.bpe",
    ]


def test_a_failed_import_leaves_the_folder_as_it_was(save_model, tmp_path, monkeypatch):
    _, bert = save_model("BertModel")
    _, roberta = save_model("RobertaModel")
    out = tmp_path / "teacher"
    import_model(bert, out)
    before = {path.name: path.read_bytes() for path in out.iterdir()}

    edit_weights(roberta, **{"encoder.layer.1.output.dense.weight": None})
    with pytest.raises(CannotStart, match="has no weights encoder"):
        import_model(roberta, out)

    def fail(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(torch, "save", fail)
        with pytest.raises(
            CannotStart, match=r"teacher cannot be read or written \(No space left on device\)"
        ):
            import_model(bert, out)

    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    assert not list(tmp_path.glob(".*"))
