"""Hugging Face folders with tokenizers of every kind that an encoder is made from."""

import io
import json
from functools import cache
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers, processors

from preprocess.encoders import load_encoder
from preprocess.huggingface import import_encoder
from preprocess.tokenizer_classes import ROLES, unigram
from preprocess.vocabulary import byte_symbols
from tests.preprocess.conftest import AWKWARD, SENTENCES

ADDED = [
    AddedToken("[E1]"),
    AddedToken("[E2]", special=True, normalized=False),
    AddedToken("<ent>", lstrip=True, rstrip=True, normalized=False),
    AddedToken("Kite", single_word=True, normalized=True),
    AddedToken("café", normalized=True),
    AddedToken("zz top", special=True, normalized=True, lstrip=True),
]
# Without the line that spells special tokens of the sequence format.
TEXTS = [
    *AWKWARD[:-1],
    *SENTENCES,
    "The[unused0]ferries [UNUSED0] FERRY ferry",
    "[E1] the [E1]ferry[E2]leaves [E2] [e1] [ E1 ]",
    "a  <ent>  b<ent>c <ENT> Kite Kites kite KITE Café CAFÉ cafe zz top ZZ TOP zz  top",
    "ÅNGSTRÖM Å ﬁ Ｆｕｌｌ Ǆ İstanbul ẞ",
]
NAMES = {
    "roberta": dict(zip(ROLES, ["<s>", "<pad>", "</s>", "<unk>", "<mask>"], strict=True)),
    "bert": dict(zip(ROLES, ["[CLS]", "[PAD]", "[SEP]", "[UNK]", "[MASK]"], strict=True)),
}
NAMES["xlm-roberta"] = NAMES["roberta"]


def byte_level_model() -> models.BPE:
    merges = ["t h", "th e", "Ġ the", "Ġ f", "e r", "r y", "er ry", "Ġf erry", "Ġ a", "a n", "Ġa n", "Ġ Ġ"]
    tokens = ["<s>", "<pad>", *reversed(byte_symbols()), "</s>", "<unk>"]
    tokens += [merge.replace(" ", "") for merge in merges if merge != "e r"] + ["er", "madeup0", "<mask>"]
    return models.BPE({token: row for row, token in enumerate(tokens)}, [tuple(m.split()) for m in merges])


def wordpiece_model() -> models.WordPiece:
    letters = [chr(c) for c in range(ord("a"), ord("z") + 1)] + list("0123456789é") + list("ABNT")
    entries = [*"[PAD] [unused0] [UNK] the [CLS] [SEP] 中 日本 The cafe [MASK]".split(), *"[]<>/.,!?'\"-"]
    entries += [*letters, *("##" + letter for letter in letters), *"ferry ##erry ##ves café".split()]
    return models.WordPiece({entry: row for row, entry in enumerate(entries)}, unk_token="[UNK]")


@cache
def trained_sentencepiece() -> bytes:
    """Return a SentencePiece model of XLM-RoBERTa's kind."""
    import sentencepiece

    model = io.BytesIO()
    given = {"sentence_iterator": iter(SENTENCES * 20), "model_writer": model}
    sentencepiece.SentencePieceTrainer.train(**given, vocab_size=60, model_type="unigram", minloglevel=2)
    return model.getvalue()


def xlm_roberta() -> Tokenizer:
    """Return the tokenizer of a SentencePiece model, with fairseq's ids."""
    from sentencepiece import sentencepiece_model_pb2

    model = sentencepiece_model_pb2.ModelProto()
    model.ParseFromString(trained_sentencepiece())
    specials = [(name, 0.0) for name in NAMES["roberta"].values()]
    pieces = [(each.piece, each.score) for each in model.pieces[3:]]
    return unigram([*specials[:4], *pieces, specials[4]], model.normalizer_spec.precompiled_charsmap)


def write_folder(
    folder: Path,
    kind: str,
    class_name: str | None,
    *,
    normalizer=None,
    pre_tokenizer=None,
    added=(),
    config=None,
    complete: bool = True,
    template: str | None = None,
) -> Path:
    """Write a Hugging Face folder with tokenizer.json (complete) or with the vocabulary's own files."""
    folder.mkdir()
    names = NAMES[kind]
    settings = {**names, **({"tokenizer_class": class_name} if class_name else {}), **(config or {})}
    if kind == "xlm-roberta":
        tokenizer = xlm_roberta()
    else:
        tokenizer = Tokenizer(byte_level_model() if kind == "roberta" else wordpiece_model())
    if complete:
        if kind != "xlm-roberta" or pre_tokenizer is not None:
            tokenizer.normalizer, tokenizer.pre_tokenizer = normalizer, pre_tokenizer
        ids = {role: (token, tokenizer.token_to_id(token)) for role, token in names.items()}
        if (template or kind) != "bert":
            post = processors.RobertaProcessing(ids["sep_token"], ids["cls_token"])
        else:
            post = processors.BertProcessing(ids["sep_token"], ids["cls_token"])
        tokenizer.post_processor = post
        mask = AddedToken(names["mask_token"], lstrip=kind != "bert")
        tokenizer.add_special_tokens([*names.values()][:-1] + [mask])
        tokenizer.add_tokens(list(added))
        tokenizer.save(str(folder / "tokenizer.json"))
    else:
        tokenizer.model.save(str(folder))
        listed = enumerate(added, tokenizer.get_vocab_size())
        if added:
            settings["added_tokens_decoder"] = {str(row): token.__getstate__() for row, token in listed}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    (folder / "config.json").write_text(json.dumps({"model_type": kind}))
    return folder


BYTES = {"pre_tokenizer": pre_tokenizers.ByteLevel(add_prefix_space=False)}
PREFIX = {"config": {"add_prefix_space": True}}
PREFIXED = {"pre_tokenizer": pre_tokenizers.ByteLevel(add_prefix_space=True)}
BERT = {"pre_tokenizer": pre_tokenizers.BertPreTokenizer()}
GENERIC = "PreTrainedTokenizerFast"
DIGITS = pre_tokenizers.Sequence([pre_tokenizers.Digits(True), pre_tokenizers.ByteLevel(False)])
BLANKS = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation()])


UNCASED = {**BERT, "normalizer": normalizers.BertNormalizer()}
CASED = {**BERT, "normalizer": normalizers.BertNormalizer(lowercase=False)}
LOWER = {"normalizer": normalizers.Lowercase()}
NFKC_LOWER = {"normalizer": normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])}


def files(**config) -> dict:
    """Return the options of a folder without tokenizer.json, with these settings."""
    return {"complete": False, "config": config}


# Name -> kind, class, options of `write_folder`, the encoder that it becomes.
CASES = {
    "roberta": ("roberta", "RobertaTokenizer", BYTES, "gpt2"),
    "roberta of the model type": ("roberta", None, BYTES, "gpt2"),
    "roberta files": ("roberta", "RobertaTokenizerFast", files(), "gpt2"),
    "roberta generic": ("roberta", "TokenizersBackend", BYTES, "gpt2"),
    "prefix space": ("roberta", "RobertaTokenizer", {**PREFIXED, **PREFIX}, "huggingface"),
    "prefix space in the config": ("roberta", "RobertaTokenizer", {**BYTES, **PREFIX}, "huggingface"),
    "prefix space in tokenizer.json alone": ("roberta", "RobertaTokenizer", PREFIXED, "gpt2"),
    "prefix space files": ("roberta", None, files(add_prefix_space=True), "huggingface"),
    "prefix space generic": ("roberta", GENERIC, PREFIXED, "huggingface"),
    "lower case": ("roberta", GENERIC, {**BYTES, **LOWER}, "huggingface"),
    "nfc": ("roberta", "TokenizersBackend", {**BYTES, "normalizer": normalizers.NFC()}, "huggingface"),
    "nfkc lower": ("roberta", GENERIC, {**PREFIXED, **NFKC_LOWER}, "huggingface"),
    "digits": ("roberta", GENERIC, {"pre_tokenizer": DIGITS}, "huggingface"),
    "roberta added": ("roberta", "RobertaTokenizer", {**BYTES, "added": ADDED}, "huggingface"),
    "roberta added, lower case": ("roberta", GENERIC, {**BYTES, **LOWER, "added": ADDED}, "huggingface"),
    "roberta added, files": ("roberta", "RobertaTokenizer", {**files(), "added": ADDED}, "huggingface"),
    "roberta splits specials": ("roberta", "RobertaTokenizer",
        {**BYTES, "added": ADDED, "config": {"split_special_tokens": True}}, "huggingface"),
    "roberta extra specials": ("roberta", "RobertaTokenizer",
        {**BYTES, "config": {"additional_special_tokens": ["[E2]", "[E1]"]}}, "huggingface"),
    "uncased": ("bert", "BertTokenizer", UNCASED, "wordpiece"),
    "uncased of the model type": ("bert", None, UNCASED, "wordpiece"),
    "uncased generic": ("bert", GENERIC, UNCASED, "wordpiece"),
    "uncased files": ("bert", None, files(do_lower_case=True), "wordpiece"),
    "accents stripped in tokenizer.json alone": ("bert", "BertTokenizer",
        {**BERT, "normalizer": normalizers.BertNormalizer(strip_accents=False), "config": {"tokenize_chinese_chars": False}},
        "wordpiece"),
    "cased": ("bert", "BertTokenizer", {**CASED, "config": {"do_lower_case": False}}, "wordpiece"),
    "cased by the config alone": ("bert", "BertTokenizer", {**UNCASED, "config": {"do_lower_case": False}}, "wordpiece"),
    "accents kept": ("bert", "BertTokenizerFast", files(do_lower_case=True, strip_accents=False), "wordpiece"),
    "cased, no accents": ("bert", None, files(do_lower_case=False, strip_accents=True), "wordpiece"),
    "no chinese": ("bert", "BertTokenizer", files(do_lower_case=True, tokenize_chinese_chars=False), "wordpiece"),
    "bert added": ("bert", "BertTokenizer", {**UNCASED, "added": ADDED}, "huggingface"),
    "bert entries as specials": ("bert", "BertTokenizer",
        files(do_lower_case=True, additional_special_tokens=["[unused0]", "ferry"]), "huggingface"),
    "bert added, files": ("bert", "BertTokenizer", {**files(do_lower_case=False), "added": ADDED}, "huggingface"),
    "bert nfkc": ("bert", GENERIC, {**BERT, "normalizer": normalizers.NFKC()}, "huggingface"),
    "bert at blanks": ("bert", GENERIC, {**UNCASED, "pre_tokenizer": BLANKS}, "huggingface"),
    "bert without a normalizer": ("bert", "TokenizersBackend", BERT, "huggingface"),
    "xlm-roberta": ("xlm-roberta", "XLMRobertaTokenizer", {}, "huggingface"),
    "xlm-roberta of the model type": ("xlm-roberta", None, {}, "huggingface"),
    "xlm-roberta added": ("xlm-roberta", "XLMRobertaTokenizer", {"added": ADDED}, "huggingface"),
    "xlm-roberta generic": ("xlm-roberta", GENERIC, {}, "huggingface"),
    "unigram of another kind": ("xlm-roberta", GENERIC,
        {"normalizer": normalizers.NFC(), "pre_tokenizer": pre_tokenizers.Metaspace()}, "huggingface"),
}  # fmt: skip


def write_case(name: str, folder: Path) -> tuple[str, Path]:
    """Write the folder of a case; return its kind and path."""
    kind, class_name, options, _ = CASES[name]
    return kind, write_folder(folder, kind, class_name, **options)


def imported(kind: str, source: Path, target: Path):
    """Return the tokenizer and the encoder of a Hugging Face folder."""
    target.mkdir()
    tokenizer = import_encoder(kind, source, target)
    return tokenizer, load_encoder(target)


def auto(folder: Path):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder)


def assert_same_ids(source: Path, tokenizer, encoder, texts=TEXTS) -> None:
    """Assert that the ids of an encoder are those of transformers for its source."""
    order = tokenizer.order()
    found = [[order[i] for i in row] for row in encoder.encode(texts)]
    assert found == auto(source)(texts, add_special_tokens=False)["input_ids"]


def joined(encoder, first: list[int], second: list[int] | None = None) -> list[int]:
    """Return a row as the training data sets join sentences."""
    between = [2, 2] if encoder.pair_format == "roberta" else [2]
    return [0, *first, *([] if second is None else [*between, *second]), 2]
