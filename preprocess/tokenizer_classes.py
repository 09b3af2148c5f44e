"""Builds the tokenizers of transformers' classes for BERT, RoBERTa and XLM-RoBERTa from their vocabularies."""

import re
from base64 import b64decode
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from .encoder_files import checked_rows, damaged, part, read_object, read_text
from .errors import DataError
from .vocabulary import BERT_MASK, BERT_SPECIALS, BOS, EOS, MASK, SPECIALS, UNK

CONFIG = "tokenizer_config.json"
TOKENIZER = "tokenizer.json"
OLD_ADDED = "added_tokens.json"

# Class of a model type, and pair format of a class.
CLASSES = {"bert": "BertTokenizer", "roberta": "RobertaTokenizer", "xlm-roberta": "XLMRobertaTokenizer"}
FORMATS = {"BertTokenizer": "bert", "RobertaTokenizer": "roberta", "XLMRobertaTokenizer": "roberta"}

# The special tokens of the sequence format, in the order of fairseq's special tokens.
ROLES = ("cls_token", "pad_token", "sep_token", "unk_token", "mask_token")
DEFAULT_NAMES = {
    "bert": dict(zip(ROLES, [*BERT_SPECIALS, BERT_MASK], strict=True)),
    "roberta": dict(zip(ROLES, [*SPECIALS, MASK], strict=True))
    | {"bos_token": SPECIALS[BOS], "eos_token": SPECIALS[EOS]},
}

# BERT's settings: name in the normalizer -> name in tokenizer_config.json, transformers' default.
BERT_SETTINGS = {
    "lowercase": ("do_lower_case", True),
    "strip_accents": ("strip_accents", None),
    "handle_chinese_chars": ("tokenize_chinese_chars", True),
}
# Tokens such as [SEP] and [unused7], which have capitals in any vocabulary.
BRACKETS = re.compile(r"\[.*\]")


def build_tokenizer(
    class_name: str,
    folder: Path,
    full: Mapping[str, Any] | None,
    settings: Mapping[str, Any],
    names: Mapping[str, str],
) -> Tokenizer:
    """Return the tokenizer as transformers builds it, without added tokens and post-processor.

    class_name  one of `FORMATS`
    full        content of tokenizer.json; None without it
    settings    content of tokenizer_config.json
    names       names of the special tokens

    Raises DataError if the vocabulary is missing, damaged or incomplete.
    """
    prefix_space = settings.get("add_prefix_space")
    if class_name == "BertTokenizer":
        rows = _read_bert(folder, full)
        _check_specials(rows, folder, full, settings, names)
        return wordpiece(rows, names["unk_token"], _bert_settings(folder, full, settings, rows))
    if class_name == "RobertaTokenizer":
        rows, merges = _read_roberta(folder, full)
        _check_specials(rows, folder, full, settings, names)
        try:
            return byte_level_bpe(rows, merges, bool(prefix_space))
        except Exception as error:  # the library raises bare Exceptions
            raise damaged(folder, f"has merges that do not match the vocabulary ({error})") from None
    pieces, charsmap = _read_xlm_roberta(folder, full)
    _check_specials({piece for piece, _ in pieces}, folder, full, settings, names)
    try:
        return unigram(pieces, charsmap, prefix_space is not False)
    except Exception as error:
        raise damaged(folder, f"has pieces or a normalization that cannot be read ({error})") from None


def wordpiece(rows: dict[str, int], unknown: str, settings: Mapping[str, bool | None]) -> Tokenizer:
    """Return BERT's WordPiece without special tokens; settings as in `BERT_SETTINGS`."""
    rust = Tokenizer(models.WordPiece(rows, unk_token=unknown, max_input_chars_per_word=100))
    rust.normalizer = normalizers.BertNormalizer(clean_text=True, **settings)
    rust.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return rust


def byte_level_bpe(
    rows: dict[str, int], merges: Iterable[Sequence[str]], prefix_space: bool = False
) -> Tokenizer:
    """Return RoBERTa's byte-level BPE without special tokens. Raises an Exception if a merge does not match."""
    rust = Tokenizer(models.BPE(rows, [(left, right) for left, right in merges]))
    rust.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix_space)
    return rust


def unigram(pieces: Sequence[tuple[str, float]], charsmap: bytes, prefix_space: bool = True) -> Tokenizer:
    """Return XLM-RoBERTa's Unigram without special tokens.

    pieces    piece and score, in the order of their ids; the unknown token is the fourth
    charsmap  SentencePiece's normalization rules; empty without normalization
    """
    rust = Tokenizer(models.Unigram(list(pieces), unk_id=UNK, byte_fallback=False))
    if charsmap:
        rust.normalizer = normalizers.Precompiled(charsmap)
    scheme = "always" if prefix_space else "never"
    rust.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(replacement="▁", prepend_scheme=scheme)]
    )
    return rust


def post_processor(
    pair_format: str, first: tuple[str, int], last: tuple[str, int]
) -> processors.PostProcessor:
    """Return the post-processor that joins `<s> a </s></s> b </s>` (roberta) or `[CLS] a [SEP] b [SEP]` (bert).

    first, last  content and id of the two special tokens
    """
    if pair_format == "roberta":
        return processors.RobertaProcessing(last, first, trim_offsets=True, add_prefix_space=False)
    return processors.TemplateProcessing(
        single=f"{first[0]}:0 $A:0 {last[0]}:0",
        pair=f"{first[0]}:0 $A:0 {last[0]}:0 $B:1 {last[0]}:1",
        special_tokens=[first, last],
    )


def content(value: Any) -> str | None:
    """Return a token's text, from a string or from the object that describes the token; None for anything else."""
    found = value.get("content") if isinstance(value, dict) else value
    return found if isinstance(found, str) else None


def _check_specials(
    vocabulary: Collection[str],
    folder: Path,
    full: Mapping[str, Any] | None,
    settings: Mapping[str, Any],
    names: Mapping[str, str],
) -> None:
    """Raise DataError if one of the five special tokens is neither in the vocabulary nor added by a file."""
    declared = {content(token) for token in (full or {}).get("added_tokens") or []}
    declared |= {content(token) for token in (settings.get("added_tokens_decoder") or {}).values()}
    declared |= settings.get(OLD_ADDED, {}).keys()
    missing = [names[role] for role in ROLES if names[role] not in vocabulary and names[role] not in declared]
    if missing:
        raise DataError(
            f"{folder}: the vocabulary has {len(vocabulary)} entries but no {', '.join(missing)}: give the tokenizer files "
            "of the model."
        )


def _read_bert(folder: Path, full: Mapping[str, Any] | None) -> dict[str, int]:
    """Return the vocabulary of tokenizer.json or, without it, vocab.txt."""
    plain, path = folder / "vocab.txt", folder / TOKENIZER
    if full is not None:
        model = part(path, full, "model")
        if model.get("type", "WordPiece") == "WordPiece":
            return checked_rows(path, model.get("vocab"))
    elif plain.is_file():
        # Split at "\n" only: some vocabularies have Unicode line separators as entries.
        entries = [line.removesuffix("\r") for line in read_text(plain).removesuffix("\n").split("\n")]
        [(entry, times)] = Counter(entries).most_common(1)
        if times > 1:
            raise DataError(f"{plain} has {entry!r} more than once: give one with different lines.")
        return {entry: row for row, entry in enumerate(entries)}
    raise DataError(f"{folder} has neither vocab.txt nor a WordPiece {TOKENIZER}: give a BERT folder.")


def _read_roberta(
    folder: Path, full: Mapping[str, Any] | None
) -> tuple[dict[str, int], list[tuple[str, ...]]]:
    """Return vocabulary and merges of tokenizer.json or, without it, vocab.json and merges.txt."""
    vocabulary, merges, path = folder / "vocab.json", folder / "merges.txt", folder / TOKENIZER
    if full is not None:
        model = part(path, full, "model")
        if model.get("type", "BPE") == "BPE":
            pairs = model.get("merges")
            if not isinstance(pairs, list) or not all(isinstance(pair, (str, list)) for pair in pairs):
                raise damaged(path, "has no merges")
            # Older versions write "left right", newer ones ["left", "right"].
            pairs = [tuple(pair.split(" ") if isinstance(pair, str) else pair) for pair in pairs]
            return checked_rows(path, model.get("vocab")), pairs
    elif vocabulary.is_file() and merges.is_file():
        lines = [line.rstrip("\r") for line in read_text(merges).split("\n")]
        pairs = [tuple(line.split(" ")) for line in lines if line and not line.startswith("#version")]
        return checked_rows(vocabulary, read_object(vocabulary)), pairs
    raise DataError(
        f"{folder} has neither vocab.json with merges.txt nor a byte-level BPE {TOKENIZER}: give the folder of a RoBERTa "
        "tokenizer."
    )


def _read_xlm_roberta(folder: Path, full: Mapping[str, Any] | None) -> tuple[list[tuple[str, float]], bytes]:
    """Return pieces with scores, and the normalization, of tokenizer.json."""
    path = folder / TOKENIZER
    model = {} if full is None else part(path, full, "model")
    if full is None or model.get("type") != "Unigram":
        raise DataError(
            f"{folder} has no Unigram {TOKENIZER}: give the folder of an XLM-RoBERTa tokenizer, or write that file with "
            "transformers: AutoTokenizer.from_pretrained(folder).save_pretrained(folder)."
        )
    try:
        pieces = [(str(piece), float(score)) for piece, score in model["vocab"]]
        normalizer = part(path, full, "normalizer")
        steps = normalizer.get("normalizers") or [normalizer]
        maps = [step["precompiled_charsmap"] for step in steps if step.get("type") == "Precompiled"]
        return pieces, b64decode(maps[0]) if maps else b""
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise damaged(path, f"has pieces or a normalization that cannot be read ({error})") from None


def _bert_settings(
    folder: Path, full: Mapping[str, Any] | None, settings: Mapping[str, Any], vocabulary: Iterable[str]
) -> dict[str, bool | None]:
    """Return the settings for case, accents and Chinese characters.

    A vocabulary without capitals is uncased, as in TinyBERT's folders, which have no other file. Raises DataError if the
    case is unknown.
    """
    normalizer = {} if full is None else part(folder / TOKENIZER, full, "normalizer")
    found = {}
    for ours, (theirs, default) in BERT_SETTINGS.items():
        value = settings.get(theirs)
        if not (value is None or isinstance(value, bool)):
            raise damaged(folder / CONFIG, f"sets {theirs} to {value!r}, not true or false")
        found[ours] = default if value is None else value
    capitals = any(token != token.lower() and not BRACKETS.fullmatch(token) for token in vocabulary)
    uncased = normalizer.get("lowercase") is True or not (normalizer or capitals)
    if settings.get("do_lower_case") is None and not uncased:
        raise DataError(
            f"{folder}: no file states whether the vocabulary is cased: set do_lower_case to true or false in {CONFIG}."
        )
    return found
