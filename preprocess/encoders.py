"""Encodes text as fairseq indices, on all cores: `load_encoder(folder).encode(sentences)`.

gpt2           byte-level BPE of RoBERTa: encoder.json, vocab.bpe, dict.txt
wordpiece      WordPiece of BERT: vocab.txt with tokenizer_config.json, or any Hugging Face folder of that tokenizer
sentencepiece  sentencepiece.model, for example from `preprocess.train_sentencepiece`
huggingface    any other Hugging Face tokenizer: tokenizer.json with tokenizer_config.json

sentencepiece uses the C++ library `sentencepiece`, the others use the Rust library `tokenizers`. dict.txt is required
for gpt2 and optional for the others. Text that spells a special token of the sequence format, such as `<mask>`,
`</s>` or `[SEP]`, is encoded as ordinary text. transformers encodes such text as the special token by default.

The Rust models of gpt2 and wordpiece return fairseq indices directly. This module does not import numpy, because
that import takes as long as encoding 20,000 short sentences.
"""

import hashlib
import json
import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from .errors import DataError
from .tokenizer_classes import byte_level_bpe, wordpiece
from .tokenizer_files import FILES, HuggingFaceTokenizer, read_tokenizer
from .vocabulary import SPECIALS, UNK, dictionary_symbol, read_dictionary, symbols_hash

FIRST = len(SPECIALS)  # index of the first line of dict.txt


class Encoder(ABC):
    """Encodes text with one vocabulary.

    symbols      symbols of dict.txt, in order
    dictionary   dict.txt of the folder; None if the symbols are derived from other files
    hash         sha256 of everything the encoding depends on: equal hashes mean equal indices
    pair_format  format of sentence pairs: roberta `<s> a </s></s> b </s>`, bert `[CLS] a [SEP] b [SEP]`
    sees_spaces  whether a space before the first word changes its indices
    """

    name: str
    pair_format = "roberta"
    lowercase = False
    sees_spaces = False
    symbols: list[str]
    dictionary: Path | None = None
    hash: str

    @abstractmethod
    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the fairseq indices of each text, without special tokens. Lists of thousands keep all cores busy."""

    @abstractmethod
    def word_starts(self) -> list[bool]:
        """Return for each symbol whether it begins a word, as fairseq's `is_beginning_of_word`."""


class RustEncoder(Encoder):
    """Encoder of the library `tokenizers` whose model ids are fairseq indices.

    Entries that are not in dict.txt have ids from `_end` and become `<unk>`.
    """

    _tokenizer: Tokenizer
    _end: int
    _complete = True

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        encodings = self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        rows = [encoding.ids for encoding in encodings]
        if self._complete:
            return rows
        return [[i if i < self._end else UNK for i in row] for row in rows]


class GPT2Encoder(RustEncoder):
    """Byte-level BPE of RoBERTa (Radford et al., 2019); ids equal those of fairseq's `GPT2BPE`.

    dict.txt is required: it is sorted by frequency, and its symbols are BPE ids in decimal.
    """

    name = "gpt2"
    sees_spaces = True

    def __init__(self, folder: str | Path) -> None:
        files = _files(folder, self.name, ["encoder.json", "vocab.bpe", "dict.txt"])
        self.dictionary = files[2]
        self.symbols = read_dictionary(self.dictionary)
        raw = [file.read_bytes() for file in files[:2]]
        self.hash = _hash(self.name, *raw, self.symbols)

        index = {int(symbol): i for i, symbol in enumerate(self.symbols, FIRST) if symbol.isdecimal()}
        if not index:
            raise DataError(
                f"--encoder-dir {folder}: dict.txt has no numbers, but a byte-level BPE needs BPE ids as symbols: "
                "give RoBERTa's dict.txt."
            )
        try:
            ids = json.loads(raw[0])
            self._end = FIRST + len(self.symbols)
            self._complete = index.keys() >= set(ids.values())
            vocabulary = {piece: index.get(i, self._end + i) for piece, i in ids.items()}
            # As in fairseq: the first line is a version, and the last line is empty.
            merges = [line.split() for line in raw[1].decode().split("\n")[1:-1]]
            self._tokenizer = byte_level_bpe(vocabulary, merges)
        except Exception as error:  # the library raises bare Exceptions
            raise DataError(
                f"--encoder-dir {folder}: encoder.json and vocab.bpe do not match or are damaged ({error}): "
                "give both files of the same tokenizer."
            ) from None

    def word_starts(self) -> list[bool]:
        pieces = [self._tokenizer.id_to_token(i) for i in range(FIRST, self._end)]
        return [piece is None or piece.startswith("Ġ") for piece in pieces]  # None: madeupword0000, ...


class WordPieceEncoder(RustEncoder):
    """WordPiece of BERT (Devlin et al., NAACL 2019); ids equal those of transformers' `BertTokenizer`."""

    name = "wordpiece"
    pair_format = "bert"

    def __init__(self, folder: str | Path, tokenizer: HuggingFaceTokenizer | None = None) -> None:
        folder = Path(folder)
        tokenizer = tokenizer or read_tokenizer(folder)
        settings = tokenizer.wordpiece_settings()
        if settings is None:
            raise DataError(
                f"--encoder-dir {folder}: its tokenizer is not BERT's WordPiece ({tokenizer.summary()}): give "
                "--encoder huggingface."
            )
        self.settings, self.lowercase = settings, settings["lowercase"]
        self.dictionary, self.symbols = _derived(folder, tokenizer)
        vocabulary = sorted(tokenizer.rows, key=tokenizer.rows.get)
        self.hash = _hash(self.name, "\n".join(vocabulary).encode(), settings, self.symbols)

        self.vocabulary = [vocabulary[row] for row in tokenizer.order()]
        index = {entry: i for i, entry in enumerate(self.vocabulary)}
        self._tokenizer = wordpiece(index, self.vocabulary[UNK], settings)

    def word_starts(self) -> list[bool]:
        return [not symbol.startswith("##") for symbol in self.symbols]


class HuggingFaceEncoder(Encoder):
    """Any tokenizer of the library `tokenizers`; ids equal those of transformers' `AutoTokenizer`.

    Added tokens are recognised in text, except the special tokens of the sequence format.
    """

    name = "huggingface"
    sees_spaces = True

    def __init__(self, folder: str | Path, tokenizer: HuggingFaceTokenizer | None = None) -> None:
        folder = Path(folder)
        self.tokenizer = tokenizer = tokenizer or read_tokenizer(folder)
        self.pair_format = tokenizer.pair_format
        self.dictionary, self.symbols = _derived(folder, tokenizer)
        files = [folder / name for name in FILES if (folder / name).is_file()]
        self.hash = _hash(self.name, *(file.read_bytes() for file in files), self.symbols)

        self._tokenizer = Tokenizer.from_str(json.dumps(tokenizer.text_state()))
        self._tokenizer.encode_special_tokens = True
        normalizer = self._tokenizer.normalizer
        self.lowercase = normalizer is not None and normalizer.normalize_str("A").strip() == "a"

        order = tokenizer.order()
        # Special tokens that the model makes from ordinary text become <unk>: that text has no other token.
        self._table = [UNK] * (max(order) + 1)
        for index, row in enumerate(order[FIRST:-1], FIRST):
            self._table[row] = index

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ = state
        self._tokenizer.encode_special_tokens = True  # pickling for a spawned process loses this setting

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        translate = self._table.__getitem__
        encodings = self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        return [list(map(translate, encoding.ids)) for encoding in encodings]

    def word_starts(self) -> list[bool]:
        added = {token["content"] for token in self.tokenizer.added}
        model = self.tokenizer.state["model"]
        if model["type"] == "WordPiece":
            prefix = model["continuing_subword_prefix"]
            return [not token.startswith(prefix) or token in added for token in self.tokenizer.ordinary]
        return [token.startswith(("Ġ", "▁")) or token in added for token in self.tokenizer.ordinary]


class SentencePieceEncoder(Encoder):
    """SentencePiece (Kudo and Richardson, EMNLP 2018); pieces are those of the library `sentencepiece`."""

    name = "sentencepiece"

    def __init__(self, folder: str | Path) -> None:
        from sentencepiece import SentencePieceProcessor

        [model] = _files(folder, self.name, ["sentencepiece.model"])
        try:
            self._processor = SentencePieceProcessor(model_file=str(model))
        except Exception as error:
            raise DataError(
                f"--encoder-dir {folder}: sentencepiece.model is not a SentencePiece model ({error}): "
                "give the file that the sentencepiece trainer wrote."
            ) from None

        has = self._processor
        pieces = {
            dictionary_symbol(has.id_to_piece(i)): i
            for i in range(has.get_piece_size())
            if not (has.is_control(i) or has.is_unknown(i) or has.is_unused(i))
        }
        self.dictionary = _optional(Path(folder) / "dict.txt")
        self.symbols = read_dictionary(self.dictionary) if self.dictionary else list(pieces)

        index = {pieces[symbol]: i for i, symbol in enumerate(self.symbols, FIRST) if symbol in pieces}
        if not index:
            raise DataError(
                f"--encoder-dir {folder}: dict.txt has none of the pieces of sentencepiece.model: "
                "give the model's own dict.txt, or remove dict.txt to derive it from the model."
            )
        self._table = [index.get(i, UNK) for i in range(has.get_piece_size())]
        self.hash = _hash(self.name, model.read_bytes(), self.symbols)

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        translate = self._table.__getitem__
        rows = self._processor.encode(list(texts), num_threads=cores())
        return [list(map(translate, row)) for row in rows]

    def word_starts(self) -> list[bool]:
        return [symbol.startswith("▁") for symbol in self.symbols]


ENCODERS = {
    encoder.name: encoder
    for encoder in (GPT2Encoder, WordPieceEncoder, SentencePieceEncoder, HuggingFaceEncoder)
}


def load_encoder(folder: str | Path, name: str | None = None) -> Encoder:
    """Return the encoder in `folder`; `name` is only needed if the folder has files of several encoders.

    Raises DataError if files are missing, damaged or do not match.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(
            f"--encoder-dir {folder} is not a folder: give a folder with encoder.json, vocab.bpe and "
            "dict.txt (gpt2), vocab.txt (wordpiece), sentencepiece.model (sentencepiece) or tokenizer.json (huggingface)."
        )
    kind = name or _detect(folder)
    if name or kind != "wordpiece":
        return ENCODERS[kind](folder)
    tokenizer = read_tokenizer(folder)
    found = HuggingFaceEncoder if tokenizer.wordpiece_settings() is None else WordPieceEncoder
    return found(folder, tokenizer)


def use_cores(workers: int | None) -> None:
    """Set the number of encoding threads (None: all cores). Has no effect after the first text is encoded."""
    # Without this variable, the Rust library warns in forked processes and uses one thread.
    os.environ["TOKENIZERS_PARALLELISM"] = "true"
    if workers:
        os.environ["RAYON_NUM_THREADS"] = str(workers)


def cores() -> int:
    """Return the number of threads set by `use_cores`, by default the cores available to this process."""
    given = os.environ.get("RAYON_NUM_THREADS")
    if given:
        return int(given)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _detect(folder: Path) -> str:
    files_of = {
        "gpt2": ["encoder.json"],
        # Files of wordpiece or of huggingface: the tokenizer decides.
        "wordpiece": ["vocab.txt", "tokenizer.json", "vocab.json"],
        "sentencepiece": ["sentencepiece.model"],
    }
    found = [name for name, files in files_of.items() if any((folder / file).is_file() for file in files)]
    if len(found) == 1:
        return found[0]

    if found:
        raise DataError(
            f"--encoder-dir {folder} has files of {' and '.join(found)}: choose one with --encoder {'|'.join(found)}."
        )
    needed = (f"{' or '.join(files)} ({name})" for name, files in files_of.items())
    raise DataError(f"--encoder-dir {folder} has no encoder files: give a folder with {', '.join(needed)}.")


def _files(folder: str | Path, encoder: str, names: list[str]) -> list[Path]:
    files = [Path(folder) / name for name in names]
    missing = [file.name for file in files if not file.is_file()]
    if missing:
        raise DataError(
            f"--encoder-dir {folder} has no {' and no '.join(missing)}: "
            f"a {encoder} encoder needs {', '.join(names)}."
        )
    return files


def _derived(folder: Path, tokenizer: HuggingFaceTokenizer) -> tuple[Path | None, list[str]]:
    """Return dict.txt of the folder, if present, and the symbols derived from the tokenizer's vocabulary."""
    dictionary, symbols = _optional(folder / "dict.txt"), tokenizer.symbols()
    if dictionary and symbols_hash(read_dictionary(dictionary)) != symbols_hash(symbols):
        raise DataError(
            f"--encoder-dir {folder}: dict.txt does not list the vocabulary in its order: "
            "remove dict.txt; it is derived from the vocabulary."
        )
    return dictionary, symbols


def _optional(file: Path) -> Path | None:
    return file if file.is_file() else None


def _hash(name: str, *parts: bytes | dict | list[str]) -> str:
    """Return the sha256 of everything that determines the indices; each part is hashed separately, which marks its end."""
    whole = hashlib.sha256(name.encode())
    for part in parts:
        raw = part if isinstance(part, bytes) else json.dumps(part, sort_keys=True).encode()
        whole.update(hashlib.sha256(raw).digest())
    return whole.hexdigest()
