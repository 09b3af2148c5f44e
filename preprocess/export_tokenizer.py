"""Converts an encoder folder of this package to a transformers tokenizer; the inverse of `huggingface.py`.

Its ids are fairseq indices, so the embedding rows of an exported model keep their order. All tokenizers are written as
tokenizer.json; RoBERTa's also as vocab.json with merges.txt, and BERT's also as vocab.txt.

Like preprocess.glue, the tokenizer treats special tokens in text as ordinary text, except masks with `masks=True`.
It also truncates long pairs as preprocess.glue does.
"""

import json
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders

from .encoder_files import read_object, read_text, write_json, write_lines
from .encoders import Encoder, GPT2Encoder, HuggingFaceEncoder, SentencePieceEncoder, WordPieceEncoder
from .errors import DataError
from .tokenizer_classes import (
    BERT_SETTINGS,
    CONFIG,
    DEFAULT_NAMES,
    TOKENIZER,
    byte_level_bpe,
    post_processor,
    wordpiece,
)
from .vocabulary import BERT_MASK, BERT_SPECIALS, BOS, EOS, MASK, SPECIALS, UNK, write_dictionary


def export_tokenizer(
    encoder: Encoder, source: Path, target: Path, max_positions: int, segments: bool, masks: bool
) -> None:
    """Write the tokenizer files.

    encoder        encoder of the folder `source`
    target         existing folder to write to
    max_positions  maximum length in tokens, used by `truncation=True`
    segments       whether the model has segment embeddings (token types)
    masks          whether `<mask>` in text is a mask; otherwise it is ordinary text

    Raises DataError if transformers would return other ids.
    """
    if isinstance(encoder, GPT2Encoder):
        tokenizer, settings = _byte_level(encoder, source, target)
    elif isinstance(encoder, WordPieceEncoder):
        tokenizer, settings = _wordpiece(encoder, target)
    elif isinstance(encoder, HuggingFaceEncoder):
        tokenizer, settings = _renumbered(encoder, source)
    else:
        raise DataError(
            f"--encoder-dir {source} is a {encoder.name} encoder, which the library tokenizers cannot reproduce exactly: "
            "add --without-tokenizer to export the model only, or --onnx-only to export an ONNX file with this encoder."
        )

    tokenizer.save(str(target / TOKENIZER))
    settings |= {"model_max_length": max_positions, "split_special_tokens": not masks}
    settings["model_input_names"] = ["input_ids", *(["token_type_ids"] if segments else []), "attention_mask"]
    write_json(target / CONFIG, settings)


def copy_sentencepiece(encoder: SentencePieceEncoder, source: Path, target: Path) -> None:
    """Copy the encoder of the folder `source` to the existing folder `target`, for `load_encoder(target)`."""
    shutil.copyfile(source / "sentencepiece.model", target / "sentencepiece.model")
    write_dictionary(target / "dict.txt", encoder.symbols)


def _byte_level(encoder: GPT2Encoder, source: Path, target: Path) -> tuple[Tokenizer, dict[str, Any]]:
    ids = read_object(source / "encoder.json")
    spelled = {number: token for token, number in ids.items()}
    tokens = [
        spelled.get(int(symbol), symbol) if symbol.isdecimal() else symbol for symbol in encoder.symbols
    ]
    rows = _rows(source, [*SPECIALS, *tokens, MASK])
    missing = [token for token in ids if token not in rows]
    if missing:
        raise DataError(
            f"--encoder-dir {source}: dict.txt lacks {len(missing)} tokens of encoder.json, such as {missing[0]!r}, and "
            "transformers cannot map them to <unk>: add --without-tokenizer to export the model only."
        )
    merges = [line.split() for line in read_text(source / "vocab.bpe").split("\n")[1:-1]]

    tokenizer = byte_level_bpe(rows, merges)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = post_processor("roberta", (SPECIALS[BOS], BOS), (SPECIALS[EOS], EOS))
    # A mask also replaces the space before its word.
    mask: dict[str, Any] = {
        "content": MASK,
        "lstrip": True,
        "rstrip": False,
        "single_word": False,
        "normalized": False,
    }
    tokenizer.add_special_tokens([*SPECIALS, AddedToken(**mask)])

    write_json(target / "vocab.json", rows)
    write_lines(target / "merges.txt", ["#version: 0.2", *(" ".join(pair) for pair in merges)])
    named = DEFAULT_NAMES["roberta"] | {"mask_token": {"__type": "AddedToken", **mask, "special": True}}
    return tokenizer, {"tokenizer_class": "RobertaTokenizer", "add_prefix_space": False, **named}


def _wordpiece(encoder: WordPieceEncoder, target: Path) -> tuple[Tokenizer, dict[str, Any]]:
    rows = {entry: row for row, entry in enumerate(encoder.vocabulary)}
    tokenizer = wordpiece(rows, BERT_SPECIALS[UNK], encoder.settings)
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.post_processor = post_processor("bert", (BERT_SPECIALS[BOS], BOS), (BERT_SPECIALS[EOS], EOS))
    tokenizer.add_special_tokens([*BERT_SPECIALS, BERT_MASK])

    write_lines(target / "vocab.txt", encoder.vocabulary)
    casing = {BERT_SETTINGS[name][0]: value for name, value in encoder.settings.items()}
    return tokenizer, {"tokenizer_class": "BertTokenizer", **casing, **DEFAULT_NAMES["bert"]}


def _renumbered(encoder: HuggingFaceEncoder, source: Path) -> tuple[Tokenizer, dict[str, Any]]:
    """Return the encoder's tokenizer and its settings, with fairseq indices as ids.

    Added tokens stay outside the model's vocabulary; inside, the model could build words from them. The library numbers
    them after the vocabulary, in the given order, so the mask becomes the last one.
    """
    theirs = encoder.tokenizer
    state, rows = theirs.text_state(), {row: index for index, row in enumerate(theirs.order())}
    indices = {token: rows[row] for token, row in theirs.rows.items()}
    *first, mask = theirs.roles
    model = state["model"]
    if model["type"] == "Unigram":
        scores = dict(model["vocab"])
        kept = sorted(({*scores} | {*first}) - {mask}, key=indices.get)
        vocabulary = [[token, scores.get(token, 0.0)] for token in kept]
        state["model"] = {**model, "vocab": vocabulary, "unk_id": UNK}
    else:
        kept = sorted(({*model["vocab"]} | {*first}) - {mask}, key=indices.get)
        state["model"] = {**model, "vocab": {token: indices[token] for token in kept}}
    listed = {token["content"]: token for token in state["added_tokens"]}
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    for role in theirs.roles:
        listed.setdefault(role, {"content": role, **flags, "special": True})
    state["added_tokens"] = [
        {**listed[token], "id": indices[token]} for token in sorted(listed, key=indices.get)
    ]

    tokenizer = Tokenizer.from_str(json.dumps(state))
    tokenizer.encode_special_tokens = True
    spelled = {i for role in first for i in tokenizer.encode(role, add_special_tokens=False).ids}
    if tokenizer.get_vocab() != indices or {*range(UNK)} & spelled:
        raise DataError(
            f"--encoder-dir {source} is a {state['model']['type']} tokenizer whose tokens cannot be renumbered: "
            "add --without-tokenizer to export the model only."
        )
    tokenizer.encode_special_tokens = False
    tokenizer.post_processor = post_processor(theirs.pair_format, (first[BOS], BOS), (first[EOS], EOS))
    return tokenizer, theirs.config()


def _rows(source: Path, tokens: Sequence[str]) -> dict[str, int]:
    rows = {token: row for row, token in enumerate(tokens)}
    if len(rows) < len(tokens):
        [(token, _)] = Counter(tokens).most_common(1)
        raise DataError(
            f"--encoder-dir {source} has {token!r} twice, and transformers allows it only once: add --without-tokenizer to "
            "export the model only."
        )
    return rows
