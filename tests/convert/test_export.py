"""`scripts/convert_hf.py export`: transformers, without this package, answers as the model does."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from fairseq.data import Dictionary
from torch.testing import assert_close

from fairseq_kd.errors import CannotStart
from fairseq_kd.models.checkpoint import read_checkpoint
from fairseq_kd.models.roberta_student import RobertaStudent
from fairseq_kd.signals import Wanted
from fairseq_kd.teachers.live import frozen_model
from preprocess.encoders import load_encoder
from scripts.convert_hf import import_model, main
from tests.tiny import SHAPE, SYMBOLS, weights, write_data, write_teacher

HEAD = "sentence_classification_head"
BERT = {"pair_format": "bert", "layernorm_eps": 1e-12}
SEGMENTS = {**BERT, "segments": 2}
TEXTS = [
    ("the cat sat on the mat .", "A dog  under the Mat?"),
    ("naïve café 中文 🙂 <mask> [SEP]", "the"),
    ("", "Running , a big dog !"),
]


def export(checkpoint: Path, out: Path, *flags) -> Path:
    arguments = ["export", "--checkpoint", checkpoint, "--out", out, *flags]
    assert main([str(argument) for argument in arguments]) == 0
    return out


def load(folder: Path, kind: str = "SequenceClassification"):
    """Return the model as transformers loads it; assert that its weights are exactly those of the file."""
    import transformers

    auto = getattr(transformers, f"AutoModelFor{kind}" if kind else "AutoModel")
    options = {} if kind else {"add_pooling_layer": False}
    model, found = auto.from_pretrained(folder, output_loading_info=True, **options)
    assert not any(found.values()), found
    return model.eval()


def sentences(pair_format: str, pairs: bool = True, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Return a padded batch and its token types, [8, T] each."""
    generator = torch.Generator().manual_seed(seed)
    between = [2, 2] if pair_format == "roberta" else [2]

    def text():
        length = int(torch.randint(1, 9, (1,), generator=generator))
        return torch.randint(3, 65, (length,), generator=generator).tolist()

    rows, types = [], []
    for _ in range(8):
        first = [0, *text(), *(between if pairs else [2])]
        second = [*text(), 2] if pairs else []
        rows.append(torch.tensor(first + second))
        types.append(torch.tensor([0] * len(first) + [1] * len(second)))
    pad = torch.nn.utils.rnn.pad_sequence
    return pad(rows, batch_first=True, padding_value=1), pad(types, batch_first=True)


def dictionary_of(symbols) -> Dictionary:
    dictionary = Dictionary()
    for symbol in [*symbols, "<mask>"]:
        dictionary.add_symbol(symbol)
    return dictionary


def ours(given: Path, tokens: torch.Tensor, symbols=SYMBOLS, head: str | None = HEAD):
    checkpoint = read_checkpoint(str(given), "--checkpoint")
    model = frozen_model(checkpoint, dictionary_of(symbols), head, "--checkpoint")
    wanted = Wanted.of(logits=head is not None, states=range(checkpoint.shape.layers + 1))
    return model.signals(tokens, wanted, head)


def assert_same(found, signals, mask: torch.Tensor, logits: bool = True) -> None:
    assert 0 < mask.float().mean() < 1  # otherwise padding is not tried
    assert sorted(signals.states) == list(range(len(found.hidden_states)))
    for number, state in enumerate(found.hidden_states):
        assert_close(state[mask], signals.states[number][mask], atol=1e-5, rtol=1e-5)
    if logits:
        assert_close(found.logits, signals.logits, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("changes", "classes", "pairs"),
    [
        ({}, 2, True),
        ({"activation": "relu", "layernorm_eps": 1e-3}, 1, False),
        ({"activation": "gelu_accurate"}, None, True),
        (SEGMENTS, 3, True),
        ({**SEGMENTS, "activation": "tanh"}, None, False),
        (BERT, 2, True),
    ],
)
def test_states_and_logits(tmp_path, changes, classes, pairs):
    shape = replace(SHAPE, **changes)
    model = write_teacher(tmp_path / "model.pt", shape, classes)
    out = export(model, tmp_path / "out", "--without-tokenizer")

    tokens, types = sentences(shape.pair_format, pairs)
    inputs = {"input_ids": tokens, "attention_mask": tokens.ne(1).long()}
    if shape.segments:
        inputs["token_type_ids"] = types
    with torch.no_grad():
        found = load(out, "SequenceClassification" if classes else "")(**inputs, output_hidden_states=True)
    signals = ours(model, tokens, head=HEAD if classes else None)
    assert_same(found, signals, tokens.ne(1), logits=bool(classes))


@pytest.mark.parametrize("changes", [{}, {**SEGMENTS, "activation": "relu"}], ids=["roberta", "bert"])
def test_masked_lm(tmp_path, changes):
    shape = replace(SHAPE, **changes)
    model = write_teacher(tmp_path / "model.pt", shape, None, lm_head=True)
    out = export(model, tmp_path / "out", "--without-tokenizer")

    tokens, types = sentences(shape.pair_format)
    inputs = {"input_ids": tokens, "attention_mask": tokens.ne(1).long()}
    with torch.no_grad():
        expected = built(model, shape)(tokens)[0]
        found = load(out, "MaskedLM")(**inputs, **({"token_type_ids": types} if shape.segments else {}))
    assert_close(found.logits[tokens.ne(1)], expected[tokens.ne(1)], atol=1e-5, rtol=1e-5)


def built(model: Path, shape) -> RobertaStudent:
    from argparse import Namespace

    from fairseq_kd.teachers.live import NO_DROPOUT

    student = RobertaStudent(Namespace(**NO_DROPOUT), shape, dictionary_of(SYMBOLS), lm_head=True).eval()
    student.load_state_dict(torch.load(model, weights_only=True)["model"])
    return student


@pytest.mark.parametrize("changes", [{}, BERT], ids=["roberta", "bert"])
def test_the_longest_input(tmp_path, changes):
    shape = replace(SHAPE, **changes)
    model = write_teacher(tmp_path / "model.pt", shape, None)
    out = export(model, tmp_path / "out", "--without-tokenizer")
    tokens = torch.tensor([[0, *[7] * 38, 2], [0, *[9] * 30, 2, *[1] * 8]])
    assert tokens.size(1) == shape.max_positions
    with torch.no_grad():
        found = load(out, "")(tokens, tokens.ne(1).long(), output_hidden_states=True)
    assert_same(found, ours(model, tokens, head=None), tokens.ne(1), logits=False)


@pytest.mark.parametrize("pairs", [True, False], ids=["pairs", "singles"])
@pytest.mark.parametrize("class_name", ["BertForSequenceClassification", "RobertaForSequenceClassification"])
def test_from_the_text_on(save_model, tmp_path, class_name, pairs):
    """The folder alone gives what our own encoder and model give for a text."""
    from transformers import AutoTokenizer

    _, folder = save_model(class_name, num_labels=3)
    import_model(folder, tmp_path / "teacher")
    out = export(tmp_path / "teacher", tmp_path / "out")

    first, second = zip(*TEXTS, strict=True)
    given = (list(first), list(second)) if pairs else (list(first),)
    batch = AutoTokenizer.from_pretrained(out)(*given, padding=True, return_tensors="pt")

    encoder = load_encoder(tmp_path / "teacher")
    between = [2, 2] if encoder.pair_format == "roberta" else [2]
    rows = [[0, *a, 2] for a in encoder.encode(first)]
    if pairs:
        rows = [[*row[:-1], *between, *b, 2] for row, b in zip(rows, encoder.encode(second), strict=True)]
    longest = max(map(len, rows))
    tokens = torch.tensor([row + [1] * (longest - len(row)) for row in rows])
    assert torch.equal(batch["input_ids"], tokens)
    with torch.no_grad():
        found = load(out)(**batch, output_hidden_states=True)
    assert_same(found, ours(tmp_path / "teacher", tokens, encoder.symbols), tokens.ne(1))


@pytest.mark.parametrize(
    ("class_name", "types"),
    [
        ("BertModel", 2),
        ("BertForMaskedLM", 1),
        ("BertForSequenceClassification", 2),
        ("RobertaForMaskedLM", 1),
        ("RobertaForSequenceClassification", 1),
    ],
)
def test_import_export_import_gives_the_same(save_model, tmp_path, class_name, types):
    _, folder = save_model(class_name, type_vocab_size=types, hidden_act="gelu")
    import_model(folder, tmp_path / "first")
    out = export(tmp_path / "first", tmp_path / "out")
    assert json.loads((out / "config.json").read_text())["architectures"] == [class_name]
    import_model(out, tmp_path / "second")

    first, second = (read_checkpoint(str(tmp_path / name), "--teacher") for name in ("first", "second"))
    assert first.shape == second.shape
    assert first.class_names == second.class_names
    assert first.dictionary_hash == second.dictionary_hash
    assert first.weights.keys() == second.weights.keys()
    for name, value in first.weights.items():
        assert torch.equal(value, second.weights[name]), name


def test_dropout_is_that_of_the_training(tmp_path):
    dropout = {"dropout": 0.2, "attention_dropout": 0.05, "pooler_dropout": 0.3}
    config = {"_name": "roberta_student", **SHAPE.config(), **dropout}
    torch.save({"args": None, "cfg": {"model": config}, "model": weights(SHAPE)}, tmp_path / "model.pt")
    found = load(export(tmp_path / "model.pt", tmp_path / "out", "--without-tokenizer")).config
    assert (found.hidden_dropout_prob, found.attention_probs_dropout_prob) == (0.2, 0.05)
    assert found.classifier_dropout == 0.3


def test_half_precision_becomes_float32(tmp_path):
    state = {name: value.half() for name, value in weights(SHAPE).items()}
    torch.save({"args": None, "cfg": {"model": SHAPE.config()}, "model": state}, tmp_path / "model.pt")
    model = load(export(tmp_path / "model.pt", tmp_path / "out", "--without-tokenizer"))
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


def classifier(path: Path, classes: int = 2, **sections) -> Path:
    """Write a checkpoint as a training saves it, and return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    cfg = {"model": {"_name": "roberta_student", **SHAPE.config()}, **sections}
    torch.save({"args": None, "cfg": cfg, "model": weights(SHAPE, classes)}, path)
    return path


def labelled(folder: Path, *labels: str, regression: bool = False) -> Path:
    data = write_data(folder, classes=max(2, len(labels)), regression=regression)
    if labels:
        (data / "label" / "dict.txt").write_text("".join(f"{label} 1\n" for label in labels))
    return data


def test_classes_have_the_names_of_the_training_data(tmp_path):
    data = labelled(tmp_path / "RTE-bin", "entailment", "not_entailment")
    model = classifier(tmp_path / "model.pt", task={"data": str(data)})
    config = load(export(model, tmp_path / "out", "--without-tokenizer")).config
    assert config.id2label == {0: "entailment", 1: "not_entailment"}
    assert config.label2id == {"entailment": 0, "not_entailment": 1}
    assert config.problem_type == "single_label_classification"


@pytest.mark.slow
def test_dictionaries_that_fairseq_filled_up(tmp_path):
    data = labelled(tmp_path / "data", "b", "a", "madeupword0000", "madeupword0001")
    (data / "meta.json").unlink()
    model = classifier(tmp_path / "model.pt")
    config = load(export(model, tmp_path / "out", "--data", data, "--without-tokenizer")).config
    assert config.id2label == {0: "b", 1: "a"}


def test_a_regression(tmp_path, capsys):
    data = labelled(tmp_path / "data", regression=True)
    meta = json.loads((data / "meta.json").read_text())
    (data / "meta.json").write_text(json.dumps({**meta, "score_scale": 5.0}))
    model = classifier(tmp_path / "model.pt", classes=1)
    config = load(export(model, tmp_path / "out", "--data", data, "--without-tokenizer")).config
    assert (config.num_labels, config.problem_type, config.id2label) == (1, "regression", {0: "LABEL_0"})
    assert "  labels      LABEL_0, 1/5 of the task's score\n" in capsys.readouterr().out


def test_a_first_stages_untrained_head_stays_here(tmp_path, capsys):
    model = classifier(tmp_path / "model.pt", 1, criterion={"hard_weight": 0, "soft_weight": 0})
    data = labelled(tmp_path / "data", regression=True)
    meta = json.loads((data / "meta.json").read_text())
    (data / "meta.json").write_text(json.dumps({**meta, "score_scale": 5.0}))
    load(export(model, tmp_path / "out", "--data", data, "--without-tokenizer"), "")
    lines = capsys.readouterr().out.splitlines()
    assert "  left out    classification head sentence_classification_head" in lines
    assert "  labels      none" in lines


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
    files = (
        "README.md config.json merges.txt model.safetensors tokenizer.json tokenizer_config.json vocab.json"
    )
    assert sorted(path.name for path in out.iterdir()) == files.split()


def refusal(checkpoint: Path, out: Path, *flags) -> str:
    before = sorted(out.parent.iterdir())
    with pytest.raises(CannotStart) as error:
        export(checkpoint, out, *flags)
    assert sorted(out.parent.iterdir()) == before
    return str(error.value)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"head_width": 2}, "is pruned (4 layers, width 16, 4 heads of 2, ffn 32)"),
        ({"rank": 6}, "is pruned (4 layers, width 16, 4 heads, ffn 32, embeddings of rank 6)"),
        ({"pre_layernorm": True}, "has LayerNorms before attention and feed-forward"),
        ({"bare_embeddings": True}, "has no LayerNorm after its embeddings"),
        ({"segments": 2}, "has segment embeddings and RoBERTa's pair format"),
        ({"activation": "linear"}, "has the activation linear"),
        ({"pooler_activation": "relu"}, "has relu in its classification head"),
    ],
)
def test_what_transformers_cannot_express_is_refused(tmp_path, changes, sentence):
    model = write_teacher(tmp_path / "model.pt", replace(SHAPE, **changes))
    found = refusal(model, tmp_path / "out", "--without-tokenizer")
    assert found.startswith(f"Cannot export: --checkpoint {model} {sentence}")


def test_robertas_masked_lm_head_is_always_gelu(tmp_path):
    model = write_teacher(tmp_path / "model.pt", replace(SHAPE, activation="relu"), None, lm_head=True)
    assert "has relu in its masked-LM head" in refusal(model, tmp_path / "out", "--without-tokenizer")


def test_data_of_another_task_are_refused(tmp_path):
    model = classifier(tmp_path / "model.pt", classes=3)
    data = labelled(tmp_path / "data")
    found = refusal(model, tmp_path / "out", "--data", data, "--without-tokenizer")
    assert f"has 3 classes, but {data} has 2: give the data it was fine-tuned on (--data)" in found


def test_a_missing_vocabulary_is_an_error(tmp_path, capsys):
    model = write_teacher(tmp_path / "model.pt")
    found = refusal(model, tmp_path / "out")
    assert (
        "has no vocabulary next to it: give --encoder-dir, as for preprocess.glue, or --without-tokenizer"
        in found
    )
    with pytest.raises(SystemExit):
        export(model, tmp_path / "out", "--encoder-dir", tmp_path, "--without-tokenizer")
    assert "--without-tokenizer: not allowed with argument --encoder-dir" in capsys.readouterr().err


def test_a_folder_of_several_vocabularies_needs_a_word(save_model, tmp_path):
    _, folder = save_model("RobertaModel")
    import_model(folder, tmp_path / "teacher")
    (tmp_path / "teacher" / "vocab.txt").write_text("[PAD]\n")
    found = refusal(tmp_path / "teacher", tmp_path / "out")
    assert "has files of gpt2 and wordpiece: choose one with --encoder" in found
    export(tmp_path / "teacher", tmp_path / "out", "--encoder", "gpt2")
    assert (tmp_path / "out" / "vocab.json").is_file()


def test_other_vocabularies_are_refused(save_model, tmp_path):
    _, roberta = save_model("RobertaModel")
    _, bert = save_model("BertModel")
    for name, folder in (("roberta", roberta), ("bert", bert)):
        import_model(folder, tmp_path / name)
    found = refusal(tmp_path / "bert", tmp_path / "out", "--encoder-dir", tmp_path / "roberta")
    assert f"--encoder-dir {tmp_path / 'roberta'} and --checkpoint" in found


def test_the_vocabulary_of_the_data_is_the_one_exported(save_model, tmp_path):
    """Another casing gives the same dictionary, and other ids."""
    _, folder = save_model("BertModel")
    import_model(folder, tmp_path / "teacher")
    encoder = load_encoder(tmp_path / "teacher")
    data = write_data(tmp_path / "data")
    for name in ("input0", "input1"):
        (data / name / "dict.txt").write_bytes((tmp_path / "teacher" / "dict.txt").read_bytes())
    meta = json.loads((data / "meta.json").read_text())
    (data / "meta.json").write_text(json.dumps({**meta, "encoder": {"hash": encoder.hash}}))
    export(tmp_path / "teacher", tmp_path / "right", "--data", data)

    (tmp_path / "teacher" / "tokenizer_config.json").write_text('{"do_lower_case": false}')
    found = refusal(tmp_path / "teacher", tmp_path / "out", "--data", data)
    assert f"has the vocabulary of {data} but splits text differently (merges, casing)" in found


def test_used_folders_are_refused(tmp_path):
    model = write_teacher(tmp_path / "model.pt")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("")
    found = refusal(model, tmp_path / "out", "--without-tokenizer")
    assert "exists and is not empty: name a new folder" in found
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine"]


def test_a_failed_write_is_an_error(tmp_path):
    model = write_teacher(tmp_path / "model.pt")
    (tmp_path / "file").write_text("")
    with pytest.raises(CannotStart, match="cannot be read or written"):
        export(model, tmp_path / "file" / "out", "--without-tokenizer")


def test_no_token_of_a_tokenizer_that_cannot_be_exact(save_model, tmp_path):
    """What is refused while files are written leaves none behind."""
    _, folder = save_model("RobertaModel")
    import_model(folder, tmp_path / "teacher")
    merges = tmp_path / "teacher" / "vocab.bpe"
    merges.write_text(merges.read_text() + "z z\n")
    assert "encoder.json and vocab.bpe do not match" in refusal(tmp_path / "teacher", tmp_path / "out")
