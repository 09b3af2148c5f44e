"""A converted model computes what `transformers` computes, from the text on: states, logits, masked LM."""

import os
from argparse import Namespace
from pathlib import Path

import pytest
import torch
from fairseq.data import Dictionary
from torch.testing import assert_close

from fairseq_kd.models.checkpoint import read_checkpoint
from fairseq_kd.models.roberta_student import RobertaStudent
from fairseq_kd.signals import Wanted
from fairseq_kd.teachers.live import NO_DROPOUT, LiveTeacher
from preprocess.encoders import load_encoder
from scripts.convert_hf import import_model

HEAD = "sentence_classification_head"
REPOSITORY = Path(__file__).resolve().parents[2]
SINGLES = [("the cat sat on the mat .", None), ("dog", None), ("Running, a big dog ?", None)]
PAIRS = [("the cat sat", "on a mat , the dog ran under"), ("a dog", "the"), ("big cats running", "ok !")]


def tokenize_theirs(folder: Path, examples, kind: str) -> dict[str, torch.Tensor]:
    """Return a padded batch, tokenized by transformers."""
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    first = [a for a, _ in examples]
    second = [b for _, b in examples] if examples[0][1] else None
    return tokenizer(first, second, padding=True, return_tensors="pt", return_token_type_ids=kind == "bert")


def tokenize_ours(folder: Path, examples, kind: str) -> torch.Tensor:
    """Return the same batch from our encoder: `<s> a </s> b </s>`, for RoBERTa `<s> a </s> </s> b </s>`."""
    encoder = load_encoder(folder)
    rows = []
    for a, b in examples:
        row = [0, *encoder.encode([a])[0], 2]
        if b is not None:
            row += [*([] if kind == "bert" else [2]), *encoder.encode([b])[0], 2]
        rows.append(torch.tensor(row))
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=1)


def dictionary_of(folder: Path) -> Dictionary:
    dictionary = Dictionary.load(str(folder / "dict.txt"))
    dictionary.add_symbol("<mask>")
    return dictionary


def signals_of(folder: Path, tokens: torch.Tensor, head: bool):
    """All states, and the logits where asked for, as a teacher gives them."""
    checkpoint = read_checkpoint(str(folder), "--teacher")
    teacher = LiveTeacher(checkpoint, dictionary_of(folder), HEAD)
    wanted = Wanted.of(logits=head, states=range(checkpoint.shape.layers + 1))
    return teacher.signals({"net_input": {"src_tokens": tokens, "padded": True}}, wanted)


def assert_same_states(ours, theirs, mask: torch.Tensor) -> None:
    assert sorted(ours) == list(range(len(theirs)))
    for number, state in enumerate(theirs):
        assert_close(ours[number][mask], state[mask], atol=1e-5, rtol=1e-5)


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
    kind = model.config.model_type
    out = tmp_path / "teacher"
    import_model(folder, out)

    batch = tokenize_theirs(folder, examples, kind)
    if options.get("type_vocab_size") == 1:
        batch["token_type_ids"].zero_()
    with torch.no_grad():
        theirs = model(**batch, output_hidden_states=True)
    tokens = tokenize_ours(out, examples, kind)
    head = class_name.endswith("Classification")
    ours = signals_of(out, tokens, head)

    mask = tokens.ne(1)
    assert torch.equal(mask, batch["attention_mask"].bool())
    assert mask.sum(dim=1).unique().numel() > 1  # otherwise padding is not tried
    assert_same_states(ours.states, theirs.hidden_states, mask)
    if head:
        assert_close(ours.logits, theirs.logits, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    "class_name", ["BertForMaskedLM", "BertForPreTraining", "RobertaForMaskedLM", "XLMRobertaForMaskedLM"]
)
def test_masked_lm_logits(save_model, tmp_path, class_name):
    model, folder = save_model(class_name)
    kind = model.config.model_type
    out = tmp_path / "teacher"
    import_model(folder, out)

    checkpoint = read_checkpoint(str(out), "--teacher")
    dictionary = dictionary_of(out)
    ours = RobertaStudent(Namespace(**NO_DROPOUT), checkpoint.shape, dictionary, lm_head=True).eval()
    ours.load_state_dict(checkpoint.weights)
    tokens = tokenize_ours(out, PAIRS, kind)
    with torch.no_grad():
        scores = ours(tokens)[0]
        theirs = model(**tokenize_theirs(folder, PAIRS, kind))
        their_scores = theirs.prediction_logits if "PreTraining" in class_name else theirs.logits

    # Words stand in another order: compare each of theirs with ours of the same spelling.
    rows = _rows_of_our_words(folder, out, kind)
    mask = tokens.ne(1)
    assert_close(scores[mask], their_scores[mask][:, rows], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("class_name", "longest"), [("BertModel", 48), ("RobertaModel", 46)])
def test_the_longest_input(save_model, tmp_path, class_name, longest):
    """RoBERTa counts two rows before its first position, BERT none."""
    model, folder = save_model(class_name)
    out = tmp_path / "teacher"
    import_model(folder, out)
    assert read_checkpoint(str(out), "--teacher").shape.max_positions == longest

    kind = model.config.model_type
    words = ["dog " * (longest - 3) + "cat"] if kind == "bert" else ["?" * (longest - 2)]
    examples = [(words[0], None)]
    tokens = tokenize_ours(out, examples, kind)
    assert tokens.size(1) == longest
    with torch.no_grad():
        theirs = model(**tokenize_theirs(folder, examples, kind), output_hidden_states=True)
    assert_same_states(signals_of(out, tokens, head=False).states, theirs.hidden_states, tokens.ne(1))


def test_minilm(tmp_path):
    import transformers

    named = os.environ.get("FAIRSEQ_KD_MINILM")
    folder = Path(named) if named else REPOSITORY / ".cache" / "minilm"
    if not folder.is_dir():
        pytest.skip("needs MiniLM: run scripts/fetch_minilm.sh .cache/minilm or set FAIRSEQ_KD_MINILM")
    import_model(folder, tmp_path)
    model = transformers.AutoModel.from_pretrained(folder).eval()

    examples = [
        (
            "Amrozi accused his brother of distorting his evidence.",
            "He called him “the witness”, deliberately.",
        ),
        ("naïve café 東京 🙂", "Supercalifragilisticexpialidocious\u200b -free text"),
        ("A short one", "."),
    ]
    for batch in (examples, [(a, None) for a, _ in examples]):
        inputs = tokenize_theirs(folder, batch, "bert")
        with torch.no_grad():
            theirs = model(**inputs, output_hidden_states=True)
        tokens = tokenize_ours(tmp_path, batch, "bert")
        ours = signals_of(tmp_path, tokens, head=False)
        assert_same_states(ours.states, theirs.hidden_states, tokens.ne(1))


def _rows_of_our_words(folder: Path, out: Path, kind: str) -> list[int]:
    import json

    if kind == "xlm-roberta":
        return [*range(len(dictionary_of(out)))]
    if kind == "bert":
        rows = {word: row for row, word in enumerate((folder / "vocab.txt").read_text().split("\n")[:-1])}
        specials = {"<s>": "[CLS]", "<pad>": "[PAD]", "</s>": "[SEP]", "<unk>": "[UNK]", "<mask>": "[MASK]"}
    else:
        rows = json.loads((folder / "vocab.json").read_text())
        spelled = {str(i): token for token, i in json.loads((out / "encoder.json").read_text()).items()}
        specials = spelled
    return [rows[specials.get(symbol, symbol)] for symbol in dictionary_of(out).symbols]
