"""An imported model computes what `transformers` computes, from the text on; other models are refused."""

import json
import os
from argparse import Namespace
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

from fairseq_kd.models.checkpoint import read_checkpoint
from fairseq_kd.models.roberta_student import RobertaStudent
from fairseq_kd.teachers.live import NO_DROPOUT
from preprocess.encoders import load_encoder
from preprocess.vocabulary import read_dictionary
from scripts.convert_hf import import_model
from tests.convert.conftest import (
    HEAD,
    assert_same_signals,
    assert_same_weights,
    edit_config,
    edit_weights,
    imported,
    pickle_weights,
    refusal,
    signals_of,
    weights_of,
)
from tests.preprocess.conftest import (
    AWKWARD,
    sentencepiece_folder,  # noqa: F401
)
from tests.tiny import ROOT, dictionary_of

SINGLES = [("the cat sat on the mat .", None), ("dog", None), ("Running, a big dog ?", None)]
PAIRS = [("the cat sat", "on a mat , the dog ran under"), ("a dog", "the"), ("big cats running", "ok !")]
TYPELESS = ("model_type", "architectures")
DENSE = "encoder.layer.1.output.dense.weight"


def tokenize_theirs(folder: Path, examples, kind: str) -> dict[str, torch.Tensor]:
    """Return a padded batch, tokenized by transformers."""
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    first = [a for a, _ in examples]
    second = [b for _, b in examples] if examples[0][1] is not None else None
    return tokenizer(first, second, padding=True, return_tensors="pt", return_token_type_ids=kind == "bert")


def tokenize_ours(folder: Path, examples) -> torch.Tensor:
    """Return the same batch from our encoder: `<s> a </s> b </s>`, for RoBERTa `<s> a </s> </s> b </s>`."""
    encoder = load_encoder(folder)
    rows = []
    for a, b in examples:
        row = [0, *encoder.encode([a])[0], 2]
        if b is not None:
            row += [*([] if encoder.pair_format == "bert" else [2]), *encoder.encode([b])[0], 2]
        rows.append(torch.tensor(row))
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=1)


def check_text(model, folder: Path, out: Path, examples, head: str | None = None) -> None:
    """Assert that ids, states and logits of an import equal those of transformers, from the text on."""
    batch, tokens = tokenize_theirs(folder, examples, model.config.model_type), tokenize_ours(out, examples)
    if model.config.type_vocab_size == 1 and "token_type_ids" in batch:
        batch["token_type_ids"].zero_()
    assert torch.equal(tokens.ne(1), batch["attention_mask"].bool())
    with torch.no_grad():
        theirs = model(**batch, output_hidden_states=True)
    ours = signals_of(out, tokens, head, read_dictionary(out / "dict.txt"))
    assert_same_signals(ours, theirs, tokens.ne(1))


@pytest.mark.parametrize("examples", [SINGLES, PAIRS], ids=["singles", "pairs"])
@pytest.mark.parametrize(
    ("class_name", "options"),
    [
        ("BertModel", {}),
        ("BertModel", {"hidden_act": "gelu_new", "type_vocab_size": 1}),
        ("BertForSequenceClassification", {"num_labels": 3}),
        ("RobertaModel", {}),
        ("RobertaModel", {"hidden_act": "relu", "layer_norm_eps": 1e-3}),
        ("RobertaForSequenceClassification", {"num_labels": 1}),
        ("XLMRobertaForSequenceClassification", {"num_labels": 3}),
    ],
)
def test_states_and_logits(save_model, tmp_path, class_name, options, examples):
    model, folder = save_model(class_name, **options)
    import_model(folder, tmp_path / "teacher")
    head = HEAD if class_name.endswith("Classification") else None
    check_text(model, folder, tmp_path / "teacher", examples, head)


@pytest.mark.parametrize(
    "class_name", ["BertForMaskedLM", "BertForPreTraining", "RobertaForMaskedLM", "XLMRobertaForMaskedLM"]
)
def test_masked_lm_logits(save_model, tmp_path, class_name):
    model, folder = save_model(class_name)
    kind = model.config.model_type
    out = tmp_path / "teacher"
    import_model(folder, out)

    checkpoint = read_checkpoint(str(out), "--teacher")
    dictionary = dictionary_of(read_dictionary(out / "dict.txt"))
    ours = RobertaStudent(Namespace(**NO_DROPOUT), checkpoint.shape, dictionary, lm_head=True).eval()
    ours.load_state_dict(checkpoint.weights)
    tokens = tokenize_ours(out, PAIRS)
    with torch.no_grad():
        scores = ours(tokens)[0]
        theirs = model(**tokenize_theirs(folder, PAIRS, kind))
        their_scores = theirs.prediction_logits if "PreTraining" in class_name else theirs.logits

    # Words stand in another order: compare each of theirs with ours of the same spelling.
    rows = _rows_of_words(dictionary.symbols, folder, out, kind)
    mask = tokens.ne(1)
    assert_close(scores[mask], their_scores[mask][:, rows], atol=1e-5, rtol=1e-5)


def _rows_of_words(symbols: list[str], folder: Path, out: Path, kind: str) -> list[int]:
    if kind == "xlm-roberta":
        return [*range(len(symbols))]
    if kind == "bert":
        rows = {word: row for row, word in enumerate((folder / "vocab.txt").read_text().split("\n")[:-1])}
        specials = {"<s>": "[CLS]", "<pad>": "[PAD]", "</s>": "[SEP]", "<unk>": "[UNK]", "<mask>": "[MASK]"}
    else:
        rows = json.loads((folder / "vocab.json").read_text())
        specials = {str(i): token for token, i in json.loads((out / "encoder.json").read_text()).items()}
    return [rows[specials.get(symbol, symbol)] for symbol in symbols]


@pytest.mark.parametrize(
    ("class_name", "longest", "word", "last"), [("BertModel", 48, "dog ", "cat"), ("RobertaModel", 46, "?", "")]
)  # fmt: skip
def test_the_longest_input(save_model, tmp_path, class_name, longest, word, last):
    """RoBERTa counts two rows before its first position, BERT none."""
    model, folder = save_model(class_name)
    out = tmp_path / "teacher"
    import_model(folder, out)
    assert read_checkpoint(str(out), "--teacher").shape.max_positions == longest
    examples = [(word * (longest - 2 - bool(last)) + last, None), (word, None)]
    assert tokenize_ours(out, examples).size(1) == longest
    check_text(model, folder, out, examples)


def test_minilm(tmp_path):
    import transformers

    folder = Path(os.environ.get("FAIRSEQ_KD_MINILM") or ROOT / ".cache" / "minilm")
    if not folder.is_dir():
        pytest.skip("needs MiniLM: run scripts/fetch_minilm.sh .cache/minilm or set FAIRSEQ_KD_MINILM")
    import_model(folder, tmp_path)
    model = transformers.AutoModel.from_pretrained(folder).eval()
    amrozi = "Amrozi accused his brother of distorting his evidence."
    examples = [
        (amrozi, "He called him “the witness”, deliberately."),
        ("naïve café 東京 🙂", "Supercalifragilisticexpialidocious\u200b -free text"),
        ("A short one", "."),
    ]
    check_text(model, folder, tmp_path, examples)
    check_text(model, folder, tmp_path, [(a, None) for a, _ in examples])


@pytest.mark.parametrize("model_type", [{"model_type": "bert"}, {}], ids=["with a type", "without a type"])
def test_tinybert_as_published_without_tokenizer_files(save_model, tmp_path, capsys, model_type):
    """config.json of its own training code, pytorch_model.bin with one projection per hidden state, and vocab.txt."""
    model, folder = save_model("BertForPreTraining", pad_token_id=0)
    weights = {name: value for name, value in weights_of(folder).items() if "position_ids" not in name}
    weights["cls.predictions.decoder.weight"] = weights["bert.embeddings.word_embeddings.weight"]
    for number in range(4):
        weights[f"fit_denses.{number}.weight"] = torch.ones(32, 24)
        weights[f"fit_denses.{number}.bias"] = torch.ones(32)
    pickle_weights(folder, weights)
    sizes = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "vocab_size")
    config = {name: getattr(model.config, name) for name in (*sizes, "max_position_embeddings")}
    config |= {"attention_probs_dropout_prob": 0.1, "cell": {}, "emb_size": 24, "hidden_act": "gelu"}
    config |= {"hidden_dropout_prob": 0.1, "initializer_range": 0.02, "pre_trained": "", "structure": []}
    (folder / "config.json").write_text(json.dumps({**config, **model_type, "type_vocab_size": 2}))
    for file in folder.iterdir():
        if file.name not in ("config.json", "pytorch_model.bin", "vocab.txt"):
            file.unlink()

    import_model(folder, tmp_path / "teacher")
    output = capsys.readouterr().out
    assert "  heads       masked LM\n" in output
    assert "cls.seq_relationship, fit_denses.0, fit_denses.1, fit_denses.2, fit_denses.3, pooler" in output
    edit_config(folder, model_type="bert")
    examples = [("The CAT sat", "on a MAT , the dog ran under"), ("a dog", "The"), ("big cats", "ok !")]
    check_text(model, folder, tmp_path / "teacher", examples)


@pytest.mark.parametrize("complete", [True, False], ids=["tokenizer.json", "vocab.txt"])
def test_multilingual_bert_is_cased_and_keeps_accents(save_model, tmp_path, complete):
    from transformers import AutoTokenizer

    letters = [chr(code) for code in range(0x20, 0x500) if chr(code).isalpha()]
    entries = ["[PAD]", "[unused1]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters]
    entries += [f"##{letter}" for letter in letters]
    entries += "café Café CAFÉ ##fé русский Ελληνικά 日 本 語 ＡＢ हिन्दी . , '".split()
    model, folder = save_model("BertForMaskedLM", vocab_size=len(entries), pad_token_id=0)
    (folder / "vocab.txt").write_text("".join(f"{entry}\n" for entry in entries))
    (folder / "tokenizer_config.json").write_text('{"do_lower_case": false, "model_max_length": 512}')
    edit_config(folder, directionality="bidi", pooler_fc_size=24, pooler_type="first_token_transform")
    theirs = AutoTokenizer.from_pretrained(folder)
    if complete:
        theirs.backend_tokenizer.save(str(folder / "tokenizer.json"))

    import_model(folder, tmp_path / "teacher")
    encoder = load_encoder(tmp_path / "teacher")
    assert (encoder.name, encoder.lowercase) == ("wordpiece", False)
    texts = [*AWKWARD[:-1], "café CAFÉ Cafe\u0301 cafe\u0301s naïve Русский русский İstanbul ẞ"]
    rows = [[entries.index(encoder.vocabulary[i]) for i in row] for row in encoder.encode(texts)]
    assert rows == theirs(texts, add_special_tokens=False)["input_ids"]
    examples = [("café", "Русский русский"), ("日本語 Ελληνικά", "CAFÉ ."), ("Cafe\u0301", "a")]
    check_text(model, folder, tmp_path / "teacher", examples)


@pytest.mark.parametrize(
    ("class_name", "removed", "prefix"),
    [
        ("BertForPreTraining", TYPELESS, "bert."),
        ("RobertaForMaskedLM", TYPELESS, "module._orig_mod.roberta."),
        ("BertModel", ("model_type",), ""),
        ("RobertaModel", ("model_type",), ""),
        ("BertForMaskedLM", TYPELESS, ""),
        ("RobertaForSequenceClassification", TYPELESS, ""),
    ],
)
def test_a_config_without_model_type(save_model, tmp_path, class_name, removed, prefix):
    """The prefix of the weights tells the type, as in TinyBERT's releases; else the class, else the head."""
    _, folder = save_model(class_name)
    expected = imported(folder, tmp_path / "new")
    edit_config(folder, remove=removed, cell={}, structure=[], pre_trained="")
    own = class_name.partition("For")[0].removesuffix("Model").lower() + "."
    weights = {
        name.replace(own, prefix, 1) if name.startswith(own) else name: value
        for name, value in weights_of(folder).items()
    }
    pickle_weights(folder, weights)
    assert_same_weights(imported(folder, tmp_path / "old"), expected)


@pytest.mark.parametrize(
    ("removed", "prefix", "sentence"),
    [
        (TYPELESS, "", 'add the line "model_type": "bert", or "roberta", to config.json'),
        (("model_type",), "", "has a model of type distilbert: use one of bert, roberta, xlm-roberta"),
        (TYPELESS, "distilbert.", "has a model of type distilbert: use one of bert, roberta, xlm-roberta"),
    ],
)
def test_an_unknown_or_another_type_is_refused(save_model, removed, prefix, sentence):
    _, folder = save_model("BertModel")
    edit_config(folder, remove=removed, architectures=["DistilBertForMaskedLM"])
    pickle_weights(folder, {f"{prefix}{name}": value for name, value in weights_of(folder).items()})
    assert sentence in refusal(folder)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"model_type": "distilbert"}, "has a model of type distilbert: use one of bert, roberta, xlm-roberta"),
        ({"position_embedding_type": "relative_key"}, "has relative_key positions"),
        ({"is_decoder": True}, "is a decoder"),
        ({"hidden_act": "silu"}, "uses the activation silu"),
        ({"hidden_size": 32}, "has hidden_size 32, but weights of 24: use the config.json of the model"),
        ({"intermediate_size": 41}, "has intermediate_size 41, but weights of 40: use the config.json"),
        ({"num_attention_heads": 5}, "has 5 attention heads, but a width of 24: use the config.json"),
        ({"tokenizer_class": "BertJapaneseTokenizer"}, "has the tokenizer_class BertJapaneseTokenizer, but supported"),
    ],
)  # fmt: skip
def test_a_config_that_cannot_be_exact_is_refused(save_model, changes, sentence):
    _, folder = save_model("BertModel")
    edit_config(folder, **changes)
    assert sentence in refusal(folder)


@pytest.mark.parametrize(
    ("class_name", "changes", "sentence"),
    [
        ("BertModel", {"encoder.layer.1.adapter.down.weight": torch.zeros(2, 2)}, "(encoder.layer.1.adapter.down)"),
        ("BertModel", {DENSE: torch.ones(24, 40, dtype=torch.int8)}, f"has {DENSE} as torch.int8, so it seems to be"),
        ("BertModel", {DENSE: None}, f"has no weights {DENSE}"),
        ("BertModel", {"embeddings.LayerNorm.gamma": torch.ones(24)}, "LayerNorm.weight twice, once as embeddings.Lay"),
        ("RobertaForMaskedLM", {"lm_head.bias": None, "lm_head.decoder.bias": None}, "has no weights lm_head.bias"),
    ],
)  # fmt: skip
def test_weights_that_cannot_be_exact_are_refused(save_model, class_name, changes, sentence):
    _, folder = save_model(class_name)
    edit_weights(folder, **changes)
    assert sentence in refusal(folder)


def test_a_vocabulary_larger_than_the_embeddings_is_refused(save_model):
    _, folder = save_model("BertModel")
    with (folder / "vocab.txt").open("a") as vocabulary:
        vocabulary.write("new\n")
    assert "33 word embeddings, but its vocabulary has ids up to 33" in refusal(folder)


UNTIED = "masked-LM head (its output matrix is not tied to the embeddings)"
RELU = "classification head (TinyBERT's, which has a ReLU between its two layers), fit_dense"


@pytest.mark.parametrize(
    ("class_name", "changes", "removed", "left_out"),
    [
        ("BertModel", {}, (), "pooler (without a classifier)"),
        ("BertForMultipleChoice", {}, (), "classifier"),
        ("BertForTokenClassification", {}, (), "classifier"),
        ("RobertaForMaskedLM", {"lm_head.decoder.weight": torch.zeros(276, 24)}, (), UNTIED),
        ("RobertaForMaskedLM", {"lm_head.decoder.weight": torch.zeros(275, 24)}, (), UNTIED),
        ("BertForSequenceClassification", {"fit_dense.weight": torch.ones(32, 24), "fit_dense.bias": torch.ones(32)},
         TYPELESS, RELU),
    ],
)  # fmt: skip
def test_parts_that_cannot_be_exact_are_left_out_and_reported(
    save_model, tmp_path, capsys, class_name, changes, removed, left_out
):
    _, folder = save_model(class_name)
    edit_config(folder, remove=removed)
    edit_weights(folder, **changes)
    found = imported(folder, tmp_path / "teacher")
    output = capsys.readouterr().out
    assert "  heads       none\n" in output
    assert left_out in output
    assert not [name for name in found if name.startswith(("classification_heads", "encoder.lm_head"))]


@pytest.mark.parametrize("class_name", ["BertForMaskedLM", "RobertaForMaskedLM"])
def test_tied_words_and_position_ids_may_be_stored(save_model, tmp_path, class_name):
    _, folder = save_model(class_name)
    expected = imported(folder, tmp_path / "short")
    kind, head = ("bert", "cls.predictions") if class_name.startswith("Bert") else ("roberta", "lm_head")
    weights = weights_of(folder)
    extra = {
        f"{head}.decoder.weight": weights[f"{kind}.embeddings.word_embeddings.weight"],
        f"{head}.decoder.bias": weights[f"{head}.bias"],
        f"{kind}.embeddings.position_ids": torch.arange(48)[None],
        f"{kind}.embeddings.token_type_ids": torch.zeros(1, 48, dtype=torch.long),
    }
    pickle_weights(folder, {**weights, **extra})
    assert_same_weights(imported(folder, tmp_path / "long"), expected)
    assert any(name.startswith("encoder.lm_head") for name in expected)


def test_old_layernorm_names_and_half_precision(save_model, tmp_path):
    _, folder = save_model("BertModel")
    expected = imported(folder, tmp_path / "new")
    weights = weights_of(folder)
    for name in [name for name in weights if "LayerNorm" in name]:
        old = name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")
        weights[old] = weights.pop(name)
    pickle_weights(folder, {name: value.half() for name, value in weights.items()})
    found = imported(folder, tmp_path / "old")
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name].dtype == torch.float32
        assert_close(found[name], value, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("class_name", ["BertForSequenceClassification", "RobertaForSequenceClassification"])
def test_values_that_may_be_null(save_model, tmp_path, class_name):
    _, folder = save_model(class_name)
    edit_config(folder, pad_token_id=None, id2label=None, architectures=None)
    import_model(folder, tmp_path / "teacher")
    checkpoint = read_checkpoint(str(tmp_path / "teacher"), "--teacher")
    assert checkpoint.class_names == ("LABEL_0", "LABEL_1")
    assert checkpoint.shape.max_positions == (48 if class_name.startswith("Bert") else 46)


def test_names_of_classes_keep_the_order_of_their_numbers(save_model, tmp_path):
    _, folder = save_model("BertForSequenceClassification", num_labels=11)
    edit_config(folder, id2label={str(number): f"class {number}" for number in reversed(range(11))})
    import_model(folder, tmp_path / "teacher")
    found = read_checkpoint(str(tmp_path / "teacher"), "--teacher").class_names
    assert found == tuple(f"class {number}" for number in range(11))
