"""The tokenizer of a Hugging Face BERT or RoBERTa folder, as an encoder folder of this package.

BERT's own WordPiece      vocab.txt and tokenizer_config.json       encoder wordpiece
RoBERTa's byte-level BPE  GPT-2's encoder.json and vocab.bpe        encoder gpt2
any other                 tokenizer.json and tokenizer_config.json  encoder huggingface

With each comes dict.txt, in the order of the model's embedding rows.
"""

import json
import os
from pathlib import Path

from .errors import DataError
from .tokenizer_files import BERT_SETTINGS, CONFIG, TOKENIZER, HuggingFaceTokenizer, read_tokenizer
from .vocabulary import gpt2_ids, write_dictionary


def import_encoder(
    kind: str, source: Path, target: Path, class_name: str | None = None
) -> HuggingFaceTokenizer:
    """Writes dict.txt and the encoder's own files into `target`; returns the tokenizer in `source`.

    kind        the model type: bert or roberta
    target      folder to write to; it exists
    class_name  `tokenizer_class` of config.json, if it has one

    Raises DataError where the tokenizer cannot be reproduced whole, before anything is written.
    """
    tokenizer = read_tokenizer(source, kind, class_name)
    if tokenizer.pair_format != kind:
        raise DataError(
            f"{source} holds a model of type {kind}, but its tokenizer joins pairs as {tokenizer.pair_format} does: give "
            "the tokenizer files that belong to the model."
        )
    symbols, settings = tokenizer.symbols(), tokenizer.wordpiece_settings()

    if settings is not None:
        vocabulary = sorted(tokenizer.rows, key=tokenizer.rows.get)
        _write(target / "vocab.txt", "".join(f"{entry}\n" for entry in vocabulary))
        casing = {BERT_SETTINGS[name][0]: value for name, value in settings.items()}
        _write(target / CONFIG, json.dumps({"tokenizer_class": "BertTokenizer", **casing}, indent=2) + "\n")
    elif tokenizer.is_gpt2():
        _write(target / "encoder.json", json.dumps(gpt2_ids(tokenizer.rows, tokenizer.merges)))
        lines = ["#version: 0.2", *tokenizer.merges]
        _write(target / "vocab.bpe", "".join(f"{line}\n" for line in lines))
    else:
        _write(target / TOKENIZER, tokenizer.rust.to_str())
        _write(target / CONFIG, json.dumps(tokenizer.config(), ensure_ascii=False, indent=2) + "\n")
    write_dictionary(target / "dict.txt.part", symbols)
    os.replace(target / "dict.txt.part", target / "dict.txt")
    return tokenizer


def _write(path: Path, text: str) -> None:
    aside = path.with_name(path.name + ".part")
    aside.write_text(text, encoding="utf-8", newline="\n")
    os.replace(aside, path)
