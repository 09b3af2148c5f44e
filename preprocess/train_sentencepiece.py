"""Trains a SentencePiece model on text and makes an encoder folder of it.

python -m preprocess.train_sentencepiece sentences.txt --vocab-size 32000 --out sp
python -m preprocess.train_sentencepiece --input wiki --input books --vocab-size 32000 --out sp
"""

import argparse
import io
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

from .corpus.lines import clean_lines
from .encoders import SentencePieceEncoder
from .errors import DataError
from .file_types import open_text, undecodable
from .vocabulary import write_dictionary

# More threads add their shares in another order, which changes the last digits of a score; so the
# number is fixed and the model is the same on every machine.
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
    """Writes `sentencepiece.model` and the derived dict.txt into the new folder `out`.

    files      text, one sentence a line
    sentences  at most so many lines take part, chosen by a fixed seed
    inputs     running text as `python -m preprocess.corpus` takes it, cleaned as it cleans it
    """
    if not files and not inputs:
        raise DataError("no text was given: name files of one sentence a line, or give --input.")
    for flag, number in {"--vocab-size": vocab_size, "--sentences": sentences}.items():
        if number < 1:
            raise DataError(f"{flag} {number} is no size: give 1 or more.")
    missing = [file for file in files if not file.is_file()]
    if missing:
        raise DataError(f"{missing[0]} is not a file: give text files with one sentence a line.")
    if out.exists():
        raise DataError(f"--out {out} exists already: choose another folder, or remove it.")

    lines = chain(_lines(files), clean_lines(inputs))
    temporary = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    temporary.mkdir(parents=True)
    try:
        (temporary / "sentencepiece.model").write_bytes(_trained(lines, vocab_size, kind, sentences))
        write_dictionary(temporary / "dict.txt", SentencePieceEncoder(temporary).symbols)
        temporary.rename(out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _trained(lines: Iterator[str], vocab_size: int, kind: str, sentences: int) -> bytes:
    import sentencepiece

    sentencepiece.set_random_generator_seed(SEED)
    model = io.BytesIO()
    try:
        # Read and written here, not by the library, which would record this machine's paths in the model.
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
            f"--vocab-size {vocab_size}: no {kind} model could be trained on this text ({reason}): "
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
    parser = argparse.ArgumentParser(
        prog="python -m preprocess.train_sentencepiece",
        description="Trains a SentencePiece model and makes an encoder folder of it.",
    )
    parser.add_argument(
        "files", type=Path, nargs="*", metavar="TEXT", help="text, one sentence a line; may be compressed"
    )
    parser.add_argument(
        "--input",
        action="append",
        default=[],
        metavar="PATH[=KIND]",
        help="running text as preprocess.corpus takes it; may be given several times",
    )
    parser.add_argument(
        "--vocab-size",
        type=int,
        default=32_000,
        metavar="N",
        help="pieces, three specials included (default: 32000)",
    )
    parser.add_argument(
        "--kind",
        choices=["unigram", "bpe"],
        default="unigram",
        help="how pieces are found (default: unigram)",
    )
    parser.add_argument(
        "--sentences",
        type=int,
        default=1_000_000,
        metavar="N",
        help="lines learned from at most (default: 1000000)",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="new folder for the encoder")
    args = parser.parse_args(arguments)

    try:
        train(args.files, args.vocab_size, args.out, args.kind, args.sentences, args.input)
    except DataError as error:
        print(f"preprocess.train_sentencepiece: {error}", file=sys.stderr)
        return 1
    except OSError as error:  # a file that may not be read, a folder that may not be written, a full disk
        place = error.filename or args.out
        print(
            f"preprocess.train_sentencepiece: {place} cannot be read or written ({error.strerror}): mend that, or name "
            "another.",
            file=sys.stderr,
        )
        return 1
    print(f"{args.out}: an encoder of {args.vocab_size:,} pieces")
    return 0


if __name__ == "__main__":
    sys.exit(main())
