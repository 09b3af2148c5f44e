"""Trains a SentencePiece model on text and writes it as an encoder folder.

python -m preprocess.train_sentencepiece sentences.txt --vocab-size 32000 --out sp
python -m preprocess.train_sentencepiece --input wiki --input books --vocab-size 32000 --out sp
"""

import argparse
import io
import sys
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

from .atomic_folder import atomic_folder
from .commands import exit_status
from .corpus.read_pieces import clean_lines
from .encoders import SentencePieceEncoder
from .errors import DataError
from .file_types import open_text, undecodable
from .vocabulary import write_dictionary

# The number of threads changes the summation order and so the last digits of a score. It is fixed, so that the model
# is the same on every machine.
THREADS = 16
SEED = 1


def train(
    files: list[Path],
    vocab_size: int,
    out: Path,
    kind: str = "unigram",
    sentences: int = 1_000_000,
    inputs: Sequence[str] = (),
) -> None:
    """Train a model and write `sentencepiece.model` and its dict.txt to the new folder `out`.

    files      text, one sentence per line
    sentences  maximum number of lines used, chosen by a fixed seed
    inputs     running text in the formats of `python -m preprocess.corpus`, cleaned in the same way

    Raises DataError if text is missing or unreadable, or if training fails.
    """
    if not files and not inputs:
        raise DataError("no text is given: name files with one sentence per line, or give --input.")
    for flag, number in {"--vocab-size": vocab_size, "--sentences": sentences}.items():
        if number < 1:
            raise DataError(f"{flag} {number} is out of range: give 1 or more.")
    missing = [file for file in files if not file.is_file()]
    if missing:
        raise DataError(f"{missing[0]} is not a file: give text files with one sentence per line.")
    if out.exists():
        raise DataError(f"--out {out} already exists: choose another folder, or remove it.")

    lines = chain(_lines(files), clean_lines(inputs))
    with atomic_folder(out) as folder:
        (folder / "sentencepiece.model").write_bytes(_trained(lines, vocab_size, kind, sentences))
        write_dictionary(folder / "dict.txt", SentencePieceEncoder(folder).symbols)


def _trained(lines: Iterator[str], vocab_size: int, kind: str, sentences: int) -> bytes:
    import sentencepiece

    sentencepiece.set_random_generator_seed(SEED)
    model = io.BytesIO()
    try:
        # The library would record absolute paths in the model, so files are read and written here.
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=lines,
            model_writer=model,
            vocab_size=vocab_size,
            model_type=kind,
            input_sentence_size=sentences,
            shuffle_input_sentence=True,
            max_sentence_length=65_536,  # bytes; the library's 4,192 drops long lines
            num_threads=THREADS,
            minloglevel=2,
        )
    except RuntimeError as error:
        reason = str(error).strip().rpartition("] ")[2].rstrip(".")
        raise DataError(
            f"--vocab-size {vocab_size}: training a {kind} model on this text failed ({reason}): "
            "choose another size or give more text."
        ) from None
    return model.getvalue()


def _lines(files: list[Path]) -> Iterator[str]:
    for file in files:
        with open_text(file, str(file)) as lines:
            for number, line in enumerate(lines, start=1):
                try:
                    yield line.decode().rstrip("\r\n")
                except UnicodeDecodeError as error:
                    raise DataError(
                        f"{undecodable(str(file), number, line, error)} or leave it out."
                    ) from None


def main(arguments: list[str] | None = None) -> int:
    """Run the command and return its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m preprocess.train_sentencepiece",
        description="Trains a SentencePiece model and writes it as an encoder folder.",
    )
    parser.add_argument("files", type=Path, nargs="*", metavar="TEXT", help="text, one sentence per line")
    parser.add_argument(
        "--input",
        action="append",
        default=[],
        metavar="PATH[=KIND]",
        help="running text in the formats of preprocess.corpus; may be repeated",
    )
    parser.add_argument(
        "--vocab-size",
        type=int,
        default=32_000,
        metavar="N",
        help="number of pieces, including three special tokens (default: 32000)",
    )
    parser.add_argument(
        "--kind", choices=["unigram", "bpe"], default="unigram", help="model type (default: unigram)"
    )
    parser.add_argument(
        "--sentences",
        type=int,
        default=1_000_000,
        metavar="N",
        help="maximum number of training lines (default: 1000000)",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="new folder for the encoder")
    args = parser.parse_args(arguments)

    def work() -> None:
        train(args.files, args.vocab_size, args.out, args.kind, args.sentences, args.input)
        print(f"{args.out}: encoder with {args.vocab_size:,} pieces")

    return exit_status("preprocess.train_sentencepiece", work, args.out, "partial output was removed.")


if __name__ == "__main__":
    sys.exit(main())
