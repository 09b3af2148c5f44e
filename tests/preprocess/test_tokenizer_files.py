"""Tokenizers of Hugging Face folders: ids equal those of transformers' AutoTokenizer, or the folder is refused."""

import io
import json
import pickle
from functools import cache
from pathlib import Path

import pytest
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers, processors

from preprocess.encoders import load_encoder
from preprocess.errors import DataError
from preprocess.export_tokenizer import export_tokenizer
from preprocess.huggingface import import_encoder
from preprocess.tokenizer_classes import ROLES, unigram
from preprocess.tokenizer_files import read_tokenizer
from preprocess.vocabulary import byte_symbols, symbols_hash
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
    entries = [
        *"[PAD] [unused0] [UNK] the [CLS] [SEP]".split(),
        *"[]<>/.,!?'\"-",
        "中",
        "日本",
        "The",
        "cafe",
    ]
    entries += [
        "[MASK]",
        *letters,
        *("##" + letter for letter in letters),
        "ferry",
        "##erry",
        "##ves",
        "café",
    ]
    return models.WordPiece({entry: row for row, entry in enumerate(entries)}, unk_token="[UNK]")


@cache
def trained_sentencepiece(**options) -> bytes:
    """Return a SentencePiece model, by default of XLM-RoBERTa's kind."""
    import sentencepiece

    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(SENTENCES * 20),
        model_writer=model,
        **{"vocab_size": 60, "model_type": "unigram", "minloglevel": 2, **options},
    )
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
PREFIXED = {"pre_tokenizer": pre_tokenizers.ByteLevel(add_prefix_space=True)}
BERT = {"pre_tokenizer": pre_tokenizers.BertPreTokenizer()}
GENERIC = "PreTrainedTokenizerFast"
DIGITS = pre_tokenizers.Sequence(
    [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(False)]
)
BLANKS = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation()])


def bert_normalizer(**options):
    return normalizers.BertNormalizer(
        **{"lowercase": True, "strip_accents": None, "handle_chinese_chars": True, **options}
    )


# name -> kind, class, what else the folder has, the encoder that it becomes
CASES = {
    "roberta": ("roberta", "RobertaTokenizer", BYTES, "gpt2"),
    "roberta of the model type": ("roberta", None, BYTES, "gpt2"),
    "roberta files": ("roberta", "RobertaTokenizerFast", {"complete": False}, "gpt2"),
    "roberta generic": ("roberta", "TokenizersBackend", BYTES, "gpt2"),
    "prefix space": ("roberta", "RobertaTokenizer", {**PREFIXED, "config": {"add_prefix_space": True}}, "huggingface"),
    "prefix space in the config": (
        "roberta",
        "RobertaTokenizer",
        {**BYTES, "config": {"add_prefix_space": True}},
        "huggingface",
    ),
    "prefix space in tokenizer.json alone": ("roberta", "RobertaTokenizer", PREFIXED, "gpt2"),
    "prefix space files": ("roberta", None, {"complete": False, "config": {"add_prefix_space": True}}, "huggingface"),
    "prefix space generic": ("roberta", GENERIC, PREFIXED, "huggingface"),
    "lower case": ("roberta", GENERIC, {**BYTES, "normalizer": normalizers.Lowercase()}, "huggingface"),
    "nfc": ("roberta", "TokenizersBackend", {**BYTES, "normalizer": normalizers.NFC()}, "huggingface"),
    "nfkc lower": (
        "roberta",
        GENERIC,
        {**PREFIXED, "normalizer": normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])},
        "huggingface",
    ),
    "digits": ("roberta", GENERIC, {"pre_tokenizer": DIGITS}, "huggingface"),
    "roberta added": ("roberta", "RobertaTokenizer", {**BYTES, "added": ADDED}, "huggingface"),
    "roberta added, lower case": (
        "roberta",
        GENERIC,
        {**BYTES, "added": ADDED, "normalizer": normalizers.Lowercase()},
        "huggingface",
    ),
    "roberta added, files": ("roberta", "RobertaTokenizer", {"complete": False, "added": ADDED}, "huggingface"),
    "roberta splits specials": (
        "roberta",
        "RobertaTokenizer",
        {**BYTES, "added": ADDED, "config": {"split_special_tokens": True}},
        "huggingface",
    ),
    "roberta extra specials": (
        "roberta",
        "RobertaTokenizer",
        {**BYTES, "config": {"additional_special_tokens": ["[E2]", "[E1]"]}},
        "huggingface",
    ),
    "uncased": ("bert", "BertTokenizer", {**BERT, "normalizer": bert_normalizer()}, "wordpiece"),
    "uncased of the model type": ("bert", None, {**BERT, "normalizer": bert_normalizer()}, "wordpiece"),
    "uncased generic": ("bert", GENERIC, {**BERT, "normalizer": bert_normalizer()}, "wordpiece"),
    "uncased files": ("bert", None, {"complete": False, "config": {"do_lower_case": True}}, "wordpiece"),
    "accents stripped in tokenizer.json alone": (
        "bert",
        "BertTokenizer",
        {**BERT, "normalizer": bert_normalizer(strip_accents=False), "config": {"tokenize_chinese_chars": False}},
        "wordpiece",
    ),
    "cased": (
        "bert",
        "BertTokenizer",
        {**BERT, "normalizer": bert_normalizer(lowercase=False), "config": {"do_lower_case": False}},
        "wordpiece",
    ),
    "cased by the config alone": (
        "bert",
        "BertTokenizer",
        {**BERT, "normalizer": bert_normalizer(), "config": {"do_lower_case": False}},
        "wordpiece",
    ),
    "accents kept": (
        "bert",
        "BertTokenizerFast",
        {"complete": False, "config": {"do_lower_case": True, "strip_accents": False}},
        "wordpiece",
    ),
    "cased, no accents": (
        "bert",
        None,
        {"complete": False, "config": {"do_lower_case": False, "strip_accents": True}},
        "wordpiece",
    ),
    "no chinese": (
        "bert",
        "BertTokenizer",
        {"complete": False, "config": {"do_lower_case": True, "tokenize_chinese_chars": False}},
        "wordpiece",
    ),
    "bert added": ("bert", "BertTokenizer", {**BERT, "normalizer": bert_normalizer(), "added": ADDED}, "huggingface"),
    "bert entries as specials": (
        "bert",
        "BertTokenizer",
        {"complete": False, "config": {"do_lower_case": True, "additional_special_tokens": ["[unused0]", "ferry"]}},
        "huggingface",
    ),
    "bert added, files": (
        "bert",
        "BertTokenizer",
        {"complete": False, "added": ADDED, "config": {"do_lower_case": False}},
        "huggingface",
    ),
    "bert nfkc": ("bert", GENERIC, {**BERT, "normalizer": normalizers.NFKC()}, "huggingface"),
    "bert at blanks": ("bert", GENERIC, {"pre_tokenizer": BLANKS, "normalizer": bert_normalizer()}, "huggingface"),
    "bert without a normalizer": ("bert", "TokenizersBackend", BERT, "huggingface"),
    "xlm-roberta": ("xlm-roberta", "XLMRobertaTokenizer", {}, "huggingface"),
    "xlm-roberta of the model type": ("xlm-roberta", None, {}, "huggingface"),
    "xlm-roberta added": ("xlm-roberta", "XLMRobertaTokenizer", {"added": ADDED}, "huggingface"),
    "xlm-roberta generic": ("xlm-roberta", GENERIC, {}, "huggingface"),
    "unigram of another kind": (
        "xlm-roberta",
        GENERIC,
        {"normalizer": normalizers.NFC(), "pre_tokenizer": pre_tokenizers.Metaspace()},
        "huggingface",
    ),
}  # fmt: skip


@pytest.fixture(params=CASES)
def case(request, tmp_path) -> tuple[str, Path, str]:
    """Return kind, Hugging Face folder and the name of its encoder."""
    kind, class_name, options, encoder = CASES[request.param]
    return kind, write_folder(tmp_path / "source", kind, class_name, **options), encoder


def imported(kind: str, source: Path, target: Path):
    target.mkdir()
    tokenizer = import_encoder(kind, source, target)
    return tokenizer, load_encoder(target)


def auto(folder: Path):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder)


def joined(encoder, first: list[int], second: list[int] | None = None) -> list[int]:
    between = [2, 2] if encoder.pair_format == "roberta" else [2]
    return [0, *first, *([] if second is None else [*between, *second]), 2]


def test_ids_equal_those_of_transformers_and_come_back_in_the_export(case, tmp_path):
    kind, source, name = case
    tokenizer, encoder = imported(kind, source, tmp_path / "out")
    assert (encoder.name, encoder.pair_format) == (name, "bert" if kind == "bert" else "roberta")
    rows = encoder.encode(TEXTS)

    theirs, order = auto(source), tokenizer.order()
    assert len(theirs) == len(order) == len(encoder.symbols) + 5
    assert [[order[i] for i in row] for row in rows] == theirs(TEXTS, add_special_tokens=False)["input_ids"]
    pairs = [joined(encoder, a, b) for a, b in zip(rows, rows[::-1], strict=True)]
    assert [[order[i] for i in row] for row in pairs] == theirs(TEXTS, TEXTS[::-1])["input_ids"]
    assert load_encoder(source).encode(TEXTS) == rows
    assert symbols_hash(load_encoder(source).symbols) == symbols_hash(encoder.symbols)

    (tmp_path / "exported").mkdir()
    (tmp_path / "exported/config.json").write_text(json.dumps({"model_type": kind}))
    export_tokenizer(encoder, tmp_path / "out", tmp_path / "exported", 100_000, kind == "bert", masks=False)
    found = auto(tmp_path / "exported")
    texts = [*TEXTS, AWKWARD[-1]]
    assert found(texts, texts[::-1])["input_ids"] == [
        joined(encoder, *pair)
        for pair in zip(encoder.encode(texts), encoder.encode(texts[::-1]), strict=True)
    ]
    again = imported(kind, tmp_path / "exported", tmp_path / "again")[1]
    assert again.encode(texts) == encoder.encode(texts)
    assert again.symbols == encoder.symbols


@pytest.mark.parametrize("name", ["roberta", "roberta added", "uncased", "bert added", "bert at blanks"])
def test_text_that_spells_a_special_of_the_sequence_format_is_ordinary(name, tmp_path):
    kind, class_name, options, _ = CASES[name]
    source = write_folder(tmp_path / "source", kind, class_name, **options)
    tokenizer, encoder = imported(kind, source, tmp_path / "out")
    mask = 4 + len(encoder.symbols)
    for text in [*NAMES["bert"].values(), *NAMES["roberta"].values(), AWKWARD[-1]]:
        [row] = encoder.encode([text])
        assert row
        assert not {0, 1, 2, mask} & {*row}
    if not tokenizer.added:  # otherwise transformers recognises no added special token
        theirs, order = auto(source), tokenizer.order()
        expected = theirs(AWKWARD, add_special_tokens=False, split_special_tokens=True)["input_ids"]
        assert [[order[i] for i in row] for row in encoder.encode(AWKWARD)] == expected


@pytest.mark.parametrize("name", ["roberta added, lower case", "bert added", "roberta", "xlm-roberta added"])
def test_an_exported_masked_lm_takes_all_special_tokens_in_text(name, tmp_path):
    """As transformers does for the source."""
    kind, class_name, options, _ = CASES[name]
    source = write_folder(tmp_path / "source", kind, class_name, **options)
    tokenizer, encoder = imported(kind, source, tmp_path / "out")
    (tmp_path / "exported").mkdir()
    (tmp_path / "exported/config.json").write_text(json.dumps({"model_type": kind}))
    export_tokenizer(encoder, tmp_path / "out", tmp_path / "exported", 100_000, False, masks=True)
    mask = NAMES[kind]["mask_token"]
    texts = [*TEXTS, f"the {mask} ferry{mask}", f"{NAMES[kind]['cls_token']} a [E2]"]
    found, order = auto(tmp_path / "exported")(texts)["input_ids"], tokenizer.order()
    assert [[order[i] for i in row] for row in found] == auto(source)(texts)["input_ids"]


def test_a_special_token_that_the_model_makes_from_text_is_unknown(tmp_path):
    """A word that is looked up whole finds `[SEP]` in the vocabulary."""
    blanks = pre_tokenizers.WhitespaceSplit()
    source = write_folder(tmp_path / "source", "bert", GENERIC, pre_tokenizer=blanks)
    _, encoder = imported("bert", source, tmp_path / "out")
    [[the, sep, again]] = encoder.encode(["the [SEP] the"])
    assert (sep, again) == (3, the)
    with pytest.raises(DataError, match="is a WordPiece tokenizer whose .*add --without-tokenizer"):
        export_tokenizer(encoder, tmp_path / "out", tmp_path, 512, False, False)


def test_a_spawned_process_encodes_alike(tmp_path):
    source = write_folder(
        tmp_path / "source", "bert", GENERIC, normalizer=normalizers.NFC(), added=ADDED, **BERT
    )
    _, encoder = imported("bert", source, tmp_path / "out")
    texts = [*TEXTS, AWKWARD[-1]]
    assert pickle.loads(pickle.dumps(encoder)).encode(texts) == encoder.encode(texts)


def test_legacy_files_of_added_tokens(tmp_path):
    source = write_folder(tmp_path / "source", "bert", None, complete=False, config={"do_lower_case": True})
    (source / "added_tokens.json").write_text("{}")  # some folders hold an empty one
    rows = read_tokenizer(source, "bert").rows
    (source / "added_tokens.json").write_text(json.dumps({"[E1]": len(rows), "ferryman": len(rows) + 1}))
    (source / "special_tokens_map.json").write_text(json.dumps({"additional_special_tokens": ["[E1]"]}))
    tokenizer, encoder = imported("bert", source, tmp_path / "out")
    order = tokenizer.order()
    texts = ["the [E1] ferryman", "The [e1] FERRYMAN", "aferrymans[E1]"]
    found = [[order[i] for i in row] for row in encoder.encode(texts)]
    assert found == auto(source)(texts, add_special_tokens=False)["input_ids"]
    assert len(rows) in found[0]


def test_other_names_of_special_tokens(tmp_path):
    """A BERT with the special tokens of RoBERTa, for which those of BERT are ordinary text."""
    source = write_folder(tmp_path / "source", "bert", "BertTokenizer", complete=False)
    text = (source / "vocab.txt").read_text()
    for role, name in NAMES["bert"].items():
        text = text.replace(name, NAMES["roberta"][role])
    (source / "vocab.txt").write_text(text)
    config = {"tokenizer_class": "BertTokenizer", "do_lower_case": True, **NAMES["roberta"]}
    (source / "tokenizer_config.json").write_text(json.dumps(config))
    tokenizer, encoder = imported("bert", source, tmp_path / "out")
    order = tokenizer.order()
    found = [[order[i] for i in row] for row in encoder.encode(TEXTS)]
    assert found == auto(source)(TEXTS, add_special_tokens=False)["input_ids"]
    assert encoder.encode(["ferry"]) == load_encoder(source).encode(["ferry"])


@pytest.mark.parametrize(
    ("class_name", "options", "message"),
    [
        ("BertJapaneseTokenizer", BERT, "set tokenizer_class to PreTrainedTokenizerFast in tokenizer_config.json"),
        ("FooTokenizerFast", {"complete": False}, "has the tokenizer_class FooTokenizer"),
        (GENERIC, {"complete": False}, "has the tokenizer_class PreTrainedTokenizerFast"),
        (
            "BertTokenizer",
            {"complete": False, "config": {"auto_map": {"AutoTokenizer": ["tok.Tok", None]}}},
            "the tokenizer needs its own code",
        ),
        ("BertTokenizer", {"complete": False}, "no file states whether the vocabulary is cased: set do_lower_case"),
        (
            "BertTokenizer",
            {**BERT, "normalizer": bert_normalizer(lowercase=False)},
            "no file states whether the vocabulary is cased: set do_lower_case",
        ),
        (
            "BertTokenizer",
            {**BERT, "normalizer": normalizers.Lowercase(), "config": {"do_lower_case": True}},
            'has the normalizer {"type": "Lowercase"}, but BertTokenizer has',
        ),
        (
            "BertTokenizer",
            {**BERT, "normalizer": bert_normalizer(), "template": "roberta"},
            'has the post_processor "4 special tokens in a pair", but BertTokenizer has "3',
        ),
        (
            "BertTokenizer",
            {"pre_tokenizer": BLANKS, "normalizer": bert_normalizer()},
            'has the pre_tokenizer {"type": "Sequence"',
        ),
        (
            "BertTokenizer",
            {**BERT, "normalizer": bert_normalizer(), "added": ADDED[:1], "config": {"added_tokens_decoder": {}}},
            'has the added token "[E1]", but',
        ),
        (GENERIC, {**BERT, "template": "roberta"}, "but its tokenizer joins pairs in the format of roberta"),
        (GENERIC, {**BERT, "config": {"mask_token": None, "pad_token": None}}, "names no pad_token, mask_token"),
        (GENERIC, {**BERT, "config": {"pad_token": "[SEP]"}}, "uses '[SEP]' for two of cls_token"),
        ("XLMRobertaTokenizer", {**BERT, "normalizer": bert_normalizer()}, "has no Unigram tokenizer.json: give"),
        (GENERIC, {**BERT, "config": {"added_tokens_decoder": {"7": 1}}}, "describes tokens that cannot be read"),
    ],
)  # fmt: skip
def test_a_tokenizer_that_cannot_be_reproduced_is_refused_before_writing(
    tmp_path, class_name, options, message
):
    source = write_folder(tmp_path / "source", "bert", class_name, **options)
    with pytest.raises(DataError) as error:
        imported("bert", source, tmp_path / "out")
    assert message in str(error.value)
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize(
    ("kind", "class_name", "options", "message"),
    [
        (
            "roberta",
            "RobertaTokenizer",
            {**BYTES, "normalizer": normalizers.NFC()},
            'has the normalizer {"type": "NFC"}, but RobertaTokenizer has null',
        ),
        ("roberta", "RobertaTokenizer", {"pre_tokenizer": DIGITS}, "has the pre_tokenizer"),
        ("xlm-roberta", "XLMRobertaTokenizer", {"pre_tokenizer": pre_tokenizers.Metaspace()}, "has the pre_tokenizer"),
    ],
)  # fmt: skip
def test_a_class_and_a_tokenizer_json_that_differ_are_refused(tmp_path, kind, class_name, options, message):
    source = write_folder(tmp_path / "source", kind, class_name, **options)
    with pytest.raises(DataError) as error:
        imported(kind, source, tmp_path / "out")
    assert message in str(error.value)

    # The remedy in the message works.
    config = json.loads((source / "tokenizer_config.json").read_text())
    (source / "tokenizer_config.json").write_text(json.dumps({**config, "tokenizer_class": GENERIC}))
    tokenizer, encoder = imported(kind, source, tmp_path / "followed")
    order = tokenizer.order()
    found = [[order[i] for i in row] for row in encoder.encode(TEXTS)]
    assert found == auto(source)(TEXTS, add_special_tokens=False)["input_ids"]


def test_contradicting_or_random_settings_are_refused(tmp_path):
    options = {**PREFIXED, "config": {"add_prefix_space": False}}
    source = write_folder(tmp_path / "source", "roberta", GENERIC, **options)
    with pytest.raises(
        DataError, match="sets add_prefix_space to false in tokenizer_config.json and to true in"
    ):
        read_tokenizer(source)

    source = write_folder(tmp_path / "random", "roberta", "RobertaTokenizer", **BYTES)
    path = source / "tokenizer.json"
    path.write_text(path.read_text().replace('"dropout": null', '"dropout": 0.1'))
    with pytest.raises(DataError, match="sets BPE dropout, which makes ids random"):
        read_tokenizer(source)


def test_rows_of_xlm_roberta_are_those_of_sentencepiece_shifted_by_one(tmp_path):
    from sentencepiece import SentencePieceProcessor

    source = write_folder(tmp_path / "source", "xlm-roberta", None)
    processor = SentencePieceProcessor(model_proto=trained_sentencepiece())
    tokenizer, encoder = imported("xlm-roberta", source, tmp_path / "out")
    pieces = [processor.id_to_piece(number) for number in range(3, processor.get_piece_size())]
    assert encoder.symbols == pieces
    assert tokenizer.order() == list(range(len(pieces) + 5))
    # Ordinary text has the pieces of the C++ library, also text that spells special tokens.
    texts = [*SENTENCES, "a <mask>b<s>"]
    expected = [[i + 1 if i else 3 for i in row] for row in processor.encode(texts)]
    assert encoder.encode(texts) == expected


@pytest.mark.parametrize("names", ["cased", "uncased"])
def test_a_vocabulary_without_capitals_and_other_files_is_uncased(tmp_path, names):
    """As in TinyBERT's folders; transformers lower-cases by default. With capitals, the folder is refused."""
    entries = [*NAMES["bert"].values(), "[unused0]", *"abcrℝ", "car", *(["C"] if names == "cased" else [])]
    (tmp_path / "vocab.txt").write_text("\n".join(entries))
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    if names == "cased":
        with pytest.raises(
            DataError, match="no file states whether the vocabulary is cased: set do_lower_case"
        ):
            read_tokenizer(tmp_path)
        return
    encoder, texts = load_encoder(tmp_path), ["CAR car CÀr", *TEXTS]
    assert encoder.lowercase
    order = read_tokenizer(tmp_path).order()
    found = [[order[i] for i in row] for row in encoder.encode(texts)]
    assert found == auto(tmp_path)(texts, add_special_tokens=False)["input_ids"]


@pytest.mark.parametrize(
    ("kind", "options", "starts"),
    [
        ("roberta", BYTES, {"Ġthe": True, "Ġ": True, "the": False, "a": False, "[E1]": True, "[E2]": True}),
        (
            "bert",
            {"normalizer": bert_normalizer(), **BERT},
            {"the": True, "##a": False, "a": True, "[E1]": True},
        ),
    ],
)
def test_word_starts_with_added_tokens(tmp_path, kind, options, starts):
    class_name = {"roberta": "RobertaTokenizer", "bert": "BertTokenizer"}[kind]
    source = write_folder(tmp_path / "source", kind, class_name, added=ADDED[:2], **options)
    tokenizer, encoder = imported(kind, source, tmp_path / "out")
    found = dict(zip(tokenizer.ordinary, encoder.word_starts(), strict=True))
    assert {token: found[token] for token in starts} == starts
