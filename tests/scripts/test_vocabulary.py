"""The encoder of a model has the vocabulary of the model and of its training data."""

import pytest

from preprocess.encoders import load_encoder
from scripts.convert_hf import import_model
from tests.convert.conftest import export, export_refusal, labelled
from tests.tiny import write_teacher


def test_a_missing_or_another_vocabulary_is_an_error(save_model, tmp_path, capsys):
    model = write_teacher(tmp_path / "model.pt")
    found = export_refusal(model, tmp_path / "out")
    assert "has no vocabulary next to it: give --encoder-dir, " in found
    assert "or --without-tokenizer" in found
    with pytest.raises(SystemExit):
        export(model, tmp_path / "out", "--encoder-dir", tmp_path, "--without-tokenizer")
    assert "--without-tokenizer: not allowed with argument --encoder-dir" in capsys.readouterr().err

    for name in ("RobertaModel", "BertModel"):
        import_model(save_model(name)[1], tmp_path / f"our{name}")
    bert, roberta = tmp_path / "ourBertModel", tmp_path / "ourRobertaModel"
    found = export_refusal(bert, tmp_path / "out", "--encoder-dir", roberta)
    assert f"--encoder-dir {roberta} and --checkpoint" in found

    (roberta / "vocab.txt").write_text("[PAD]\n")
    found = export_refusal(roberta, tmp_path / "out")
    assert "has files of gpt2 and wordpiece: choose one with --encoder" in found
    export(roberta, tmp_path / "out", "--encoder", "gpt2")
    assert (tmp_path / "out" / "vocab.json").is_file()

    # An error while files are written leaves none of them.
    (roberta / "vocab.bpe").write_text((roberta / "vocab.bpe").read_text() + "z z\n")
    found = export_refusal(roberta, tmp_path / "other", "--encoder", "gpt2")
    assert "encoder.json and vocab.bpe do not match" in found


def test_the_vocabulary_of_the_data_is_the_one_exported(save_model, tmp_path):
    """Another casing gives the same dictionary, and other ids."""
    _, folder = save_model("BertModel")
    import_model(folder, tmp_path / "teacher")
    encoder = load_encoder(tmp_path / "teacher")
    data = labelled(tmp_path / "data", encoder={"hash": encoder.hash})
    for name in ("input0", "input1"):
        (data / name / "dict.txt").write_bytes((tmp_path / "teacher" / "dict.txt").read_bytes())
    export(tmp_path / "teacher", tmp_path / "right", "--data", data)

    (tmp_path / "teacher" / "tokenizer_config.json").write_text('{"do_lower_case": false}')
    found = export_refusal(tmp_path / "teacher", tmp_path / "out", "--data", data)
    assert f"has the vocabulary of {data} but splits text differently (merges, casing)" in found
