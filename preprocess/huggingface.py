"""Converts the tokenizer of a Hugging Face BERT or RoBERTa folder to an encoder folder of this package.

WordPiece of BERT          vocab.txt and tokenizer_config.json       encoder wordpiece
byte-level BPE of RoBERTa  GPT-2's encoder.json and vocab.bpe        encoder gpt2
any other                  tokenizer.json and tokenizer_config.json  encoder huggingface

Each also gets a dict.txt, in the order of the model's embedding rows.
"""

import json
from pathlib import Path

from .encoder_files import write_json, write_lines, write_text
from .errors import DataError
from .tokenizer_classes import BERT_SETTINGS, CLASSES, CONFIG, FORMATS, TOKENIZER
from .tokenizer_files import HuggingFaceTokenizer, read_tokenizer
from .vocabulary import gpt2_ids, write_dictionary


def import_encoder(
    kind: str, source: Path, target: Path, class_name: str | None = None
) -> HuggingFaceTokenizer:
    """Write dict.txt and the encoder's files to `target`; return the tokenizer in `source`.

    kind        model type: bert, roberta or xlm-roberta
    target      existing folder to write to
    class_name  `tokenizer_class` of config.json, if present

    Raises DataError, before writing, if the tokenizer cannot be reproduced exactly.
    """
    tokenizer = read_tokenizer(source, kind, class_name)
    if tokenizer.pair_format != FORMATS[CLASSES[kind]]:
        raise DataError(
            f"{source} has a model of type {kind}, but its tokenizer joins pairs in the format of {tokenizer.pair_format}: "
            "give the tokenizer files of the model."
        )
    symbols, settings = tokenizer.symbols(), tokenizer.wordpiece_settings()

    if settings is not None:
        vocabulary = sorted(tokenizer.rows, key=tokenizer.rows.get)
        write_lines(target / "vocab.txt", vocabulary)
        casing = {BERT_SETTINGS[name][0]: value for name, value in settings.items()}
        write_json(target / CONFIG, {"tokenizer_class": "BertTokenizer", **casing})
    elif tokenizer.is_gpt2():
        write_text(target / "encoder.json", json.dumps(gpt2_ids(tokenizer.rows, tokenizer.merges)))
        write_lines(target / "vocab.bpe", ["#version: 0.2", *tokenizer.merges])
    else:
        write_text(target / TOKENIZER, tokenizer.rust.to_str())
        write_json(target / CONFIG, tokenizer.config())
    write_dictionary(target / "dict.txt", symbols)
    return tokenizer
