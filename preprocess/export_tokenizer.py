"""An encoder folder of this package as a tokenizer of transformers: the way back of `huggingface.py`.

Its ids are fairseq's indices, so that the rows of an exported model keep their order. RoBERTa's tokenizer is written
as tokenizer.json and as vocab.json with merges.txt, BERT's as tokenizer.json and vocab.txt.

preprocess.glue knows no special token in text; nor does the tokenizer, unless text may name its masks. Pairs that are
too long are cut alike.
"""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tokenizers import (
    AddedToken,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
)

from .encoders import Encoder
from .errors import DataError
from .files import read_object, read_text
from .vocabulary import (
    BERT_MASK,
    BERT_SPECIALS,
    BOS,
    EOS,
    MASK,
    SETTINGS,
    SPECIALS,
    UNK,
    read_wordpiece_vocabulary,
    wordpiece_order,
    wordpiece_settings,
)

# What transformers calls the specials, in the order of ours.
ROLES = ("cls_token", "pad_token", "sep_token", "unk_token")


def export_tokenizer(
    encoder: Encoder, source: Path, target: Path, max_positions: int, segments: bool, masks: bool
) -> None:
    """Writes the tokenizer's files.

    encoder        that of the folder `source`
    target         folder to write to; it exists
    max_positions  tokens to which `truncation=True` cuts
    segments       whether the model tells first sentences from second ones (token types)
    masks          whether `<mask>` in text is a mask; else it is text

    Raises DataError where transformers would give other ids.
    """
    if encoder.name == "gpt2":
        tokenizer, settings = _byte_level(encoder, source, target)
    elif encoder.name == "wordpiece":
        tokenizer, settings = _wordpiece(source, target)
    else:
        raise DataError(
            f"--encoder-dir {source} is a {encoder.name} encoder, whose text the library tokenizers normalises in another "
            "way: add --without-tokenizer to export the model alone."
        )

    tokenizer.save(str(target / "tokenizer.json"))
    settings |= {"model_max_length": max_positions, "split_special_tokens": not masks}
    settings["model_input_names"] = ["input_ids", *(["token_type_ids"] if segments else []), "attention_mask"]
    _write_json(target / "tokenizer_config.json", settings)


def _byte_level(encoder: Encoder, source: Path, target: Path) -> tuple[Tokenizer, dict[str, Any]]:
    ids = read_object(source / "encoder.json")
    spelled = {number: token for token, number in ids.items()}
    tokens = [
        spelled.get(int(symbol), symbol) if symbol.isdecimal() else symbol for symbol in encoder.symbols
    ]
    rows = _rows(source, [*SPECIALS, *tokens, MASK])
    missing = [token for token in ids if token not in rows]
    if missing:
        raise DataError(
            f"--encoder-dir {source}: dict.txt lacks {len(missing)} tokens of encoder.json, {missing[0]!r} first, which "
            "transformers cannot turn into <unk>: add --without-tokenizer to export the model alone."
        )
    merges = [line.split() for line in read_text(source / "vocab.bpe").split("\n")[1:-1]]

    tokenizer = Tokenizer(models.BPE(rows, [tuple(pair) for pair in merges]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.RobertaProcessing(
        (SPECIALS[EOS], EOS), (SPECIALS[BOS], BOS), trim_offsets=True, add_prefix_space=False
    )
    # A mask stands for the space before its word as well.
    mask = {"content": MASK, "lstrip": True, "rstrip": False, "single_word": False, "normalized": False}
    tokenizer.add_special_tokens([*SPECIALS, AddedToken(**mask)])

    _write_json(target / "vocab.json", rows)
    lines = ["#version: 0.2", *(" ".join(pair) for pair in merges)]
    _write(target / "merges.txt", "".join(f"{line}\n" for line in lines))
    named = dict(zip(ROLES, SPECIALS, strict=True)) | {
        "bos_token": SPECIALS[BOS],
        "eos_token": SPECIALS[EOS],
        "mask_token": {"__type": "AddedToken", **mask, "special": True},
    }
    return tokenizer, {"tokenizer_class": "RobertaTokenizer", "add_prefix_space": False, **named}


def _wordpiece(source: Path, target: Path) -> tuple[Tokenizer, dict[str, Any]]:
    vocabulary, settings = read_wordpiece_vocabulary(source), wordpiece_settings(source)
    entries = [vocabulary[row] for row in wordpiece_order(vocabulary)]

    tokenizer = Tokenizer(models.WordPiece(_rows(source, entries), unk_token=BERT_SPECIALS[UNK]))
    tokenizer.normalizer = normalizers.BertNormalizer(clean_text=True, **settings)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    first, last = BERT_SPECIALS[BOS], BERT_SPECIALS[EOS]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{first}:0 $A:0 {last}:0",
        pair=f"{first}:0 $A:0 {last}:0 $B:1 {last}:1",
        special_tokens=[(first, BOS), (last, EOS)],
    )
    tokenizer.add_special_tokens([*BERT_SPECIALS, BERT_MASK])

    _write(target / "vocab.txt", "".join(f"{entry}\n" for entry in entries))
    named = dict(zip(ROLES, BERT_SPECIALS, strict=True)) | {"mask_token": BERT_MASK}
    casing = {SETTINGS[name]: value for name, value in settings.items()}
    return tokenizer, {"tokenizer_class": "BertTokenizer", **casing, **named}


def _rows(source: Path, tokens: Sequence[str]) -> dict[str, int]:
    rows = {token: row for row, token in enumerate(tokens)}
    if len(rows) < len(tokens):
        [(token, _)] = Counter(tokens).most_common(1)
        raise DataError(
            f"--encoder-dir {source} gives {token!r} two rows, which transformers cannot: add --without-tokenizer to export "
            "the model alone."
        )
    return rows


def _write_json(path: Path, content: dict[str, Any]) -> None:
    _write(path, json.dumps(content, ensure_ascii=False, indent=2) + "\n")


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", newline="\n")
