"""Running text to fairseq's shards for masked-LM pre-training (`--task masked_lm_kd`).

    python -m preprocess.corpus --input wiki --input books --encoder-dir gpt2_bpe --out data/corpus --shards 8

Documents go to train, valid or test, and to a shard, by a hash of their text and the seed: the choice depends
neither on the order of files nor on the number of processes, and copies of a document stay together. A line of the
result is a sentence; one after the first of a paragraph keeps the space before it where the encoder sees
spaces. A lone </s> ends each document, as fairseq's complete_doc expects.

Pieces of 1 to 16 MiB are encoded by --workers processes, each piece kept in OUT.parts when it is done, and joined
at the end. A file compressed by gzip, bzip2 or xz is never divided: one process reads all of it, as a stream. A run
that was killed goes on from the pieces it has when it is called again. --part i/n does one of n parts, on any machine
that has the input; --merge joins them.

Memory of a process, whatever the size of the corpus: that of a piece beside the encoder, 75 MiB in all where
pieces are of 1 MiB, 170 MiB of 16 MiB, 180 MiB with documents as long as the longest piece; the first process holds
0.7 KiB more for each file and piece (benchmarks/corpus_memory.py, gpt2's encoder). Disk: twice the result while it
is joined.
"""

import argparse
import gc
import os
import sys
from dataclasses import fields
from pathlib import Path

from ..encoders import ENCODERS, cores, load_encoder, use_cores
from ..errors import DataError
from .finished import check_same
from .inputs import Source, find_sources
from .join import join, shard_folders
from .parts import Parts, find_parts, open_parts
from .pieces import PieceEncoder
from .plan import LARGEST, MIB, Options, Piece, cut
from .progress import shown
from .workers import run

OPTIONS = [field.name for field in fields(Options)]  # no default in the parser: --merge asks what was given


def main(arguments: list[str] | None = None) -> int:
    args = _parser().parse_args(arguments)
    try:
        if args.merge:
            _merge(args)
        else:
            _make(args)
    except DataError as error:
        print(f"preprocess.corpus: {error}", file=sys.stderr)
        return 1
    except OSError as error:  # a folder that may not be written, a full disk
        what = f"{error.filename or args.out}: {error.strerror}"
        print(f"preprocess.corpus: {what}: run again when that is put right.", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("preprocess.corpus: stopped; the same command goes on from what is done.", file=sys.stderr)
        return 130
    return 0


def _make(args: argparse.Namespace) -> None:
    given = {name: getattr(args, name) for name in OPTIONS if getattr(args, name) is not None}
    options = Options(**given)
    part = _check(args, options)
    sources = find_sources(args.input)
    use_cores(args.workers)
    encoder = load_encoder(args.encoder_dir, args.encoder)
    if args.out.exists():
        check_same(args.out, sources, encoder, options)
        print(f"{args.out} is up to date.")
        return

    pieces = cut(sources)
    parts = open_parts(args.out, sources, pieces, encoder, options)
    _note_sources(sources)
    mine = pieces if part is None else _share_of(pieces, *part)
    _encode(mine, parts, PieceEncoder(encoder, options, parts.folder), args.workers or cores())

    if part is None:
        _print_summary(args.out, join(parts, args.out))
    else:
        print(
            f"{parts.folder}: part {args.part} is done, {len(mine)} of {len(pieces)} pieces; when all parts are here: "
            f"python -m preprocess.corpus --merge --out {args.out}"
        )


def _merge(args: argparse.Namespace) -> None:
    idle = [name for name, value in vars(args).items() if value is not None and name not in ("out", "merge")]
    if idle:
        flags = " and ".join(f"--{name.replace('_', '-')}" for name in idle)
        raise DataError(f"--merge joins parts as they were made: leave {flags} out.")
    _print_summary(args.out, join(find_parts(args.out), args.out))


def _check(args: argparse.Namespace, options: Options) -> tuple[int, int] | None:
    """Refuses what cannot be; returns --part as numbers."""
    for flag, value in (("--input", args.input), ("--encoder-dir", args.encoder_dir)):
        if not value:
            raise DataError(
                f"{flag} is not given: name the text and the encoder, or join parts with --merge."
            )
    for flag, value in (("--shards", options.shards), ("--workers", args.workers), ("--seed", options.seed)):
        least = 0 if flag == "--seed" else 1
        if value is not None and value < least:
            raise DataError(f"{flag} {value} cannot be: give a number from {least}.")
    if options.longest < 8:
        raise DataError(f"--longest {options.longest} cannot be: give 8 tokens or more.")
    shares = (options.valid_share, options.test_share)
    if not (all(share >= 0 for share in shares) and sum(shares) < 1):
        raise DataError(
            f"--valid-share {shares[0]:g} and --test-share {shares[1]:g} leave nothing to train on or are no shares: "
            "give numbers from 0 whose sum is below 1."
        )
    return _part(args.part) if args.part else None


def _part(given: str) -> tuple[int, int]:
    number, mark, parts = given.partition("/")
    if mark and number.isdecimal() and parts.isdecimal() and 1 <= int(number) <= int(parts):
        return int(number), int(parts)
    raise DataError(f"--part {given} is no part: give i/n with i from 1 to n, such as 1/4.")


def _share_of(pieces: list[Piece], part: int, parts: int) -> list[Piece]:
    """Part i of n, from 1: neighbouring pieces, so that a part reads few files."""
    return pieces[len(pieces) * (part - 1) // parts : len(pieces) * part // parts]


def _encode(pieces: list[Piece], parts: Parts, work: PieceEncoder, workers: int) -> None:
    done = {piece.number for piece in parts.done(pieces)}
    left = [piece for piece in pieces if piece.number not in done]
    if done:
        print(f"{len(done)} of {len(pieces)} pieces are done already.", file=sys.stderr)

    total = sum(piece.size for piece in pieces)
    for _ in shown(run(left, work, workers), total, total - sum(piece.size for piece in left)):
        pass


def _note_sources(sources: list[Source]) -> None:
    for source in sources:
        size = f"{source.size / MIB:,.1f} MiB"
        compressed = sum(file.compressed for file in source.files)
        size += f" ({compressed:,} of them compressed)" if compressed else ""
        print(f"{source.name}: {len(source.files):,} files, {size}, read as {source.kind}", file=sys.stderr)
        for file in source.files:
            if file.compressed and file.size > LARGEST:
                print(
                    f"{file.name} is compressed, so that one process reads all of it: decompress it to use several.",
                    file=sys.stderr,
                )


def _print_summary(out: Path, meta: dict) -> None:
    print(f"{out}  ({meta['encoder']['name']})")
    for split, counts in meta["splits"].items():
        line = "".join(f"{counts[name]:>14,} {name}" for name in ("documents", "lines", "tokens"))
        print(f"  {split:<6}{line}  ({counts['cut']:,} sentences cut)")
    empty, dropped = (sum(source[name] for source in meta["sources"]) for name in ("empty", "dropped"))
    if empty or dropped:
        print(
            f"  left out: {empty:,} documents without text, {dropped:,} lines of tables, templates and pictures"
        )
    print(os.pathsep.join(map(str, shard_folders(out, len(meta["shards"])))))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m preprocess.corpus",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )

    files = parser.add_argument_group("what is read")
    files.add_argument(
        "--input",
        action="append",
        metavar="PATH[=KIND]",
        help="file, or folder with all below it, compressed (gzip, bzip2, xz) or not; may be given several times. KIND "
        "is wiki (WikiExtractor's <doc> files), json (WikiExtractor's with --json), text (a blank line between documents) "
        "or book (each file a document, lines wrapped, a blank line between paragraphs) (default: told by the text)",
    )

    encoding = parser.add_argument_group("how it is encoded")
    encoding.add_argument(
        "--encoder-dir",
        type=Path,
        metavar="DIR",
        help="folder with encoder.json, vocab.bpe, dict.txt (gpt2), vocab.txt (wordpiece), tokenizer.json "
        "(huggingface) or sentencepiece.model (sentencepiece)",
    )
    encoding.add_argument(
        "--encoder",
        choices=list(ENCODERS),
        help="kind of encoder (default: told by the files in --encoder-dir)",
    )
    encoding.add_argument(
        "--longest",
        type=int,
        metavar="N",
        help="most tokens of a line, </s> included; a longer sentence is cut between words. Blocks are made of whole "
        "lines, so this has to be below --tokens-per-sample (default: 127 tokens)",
    )
    encoding.add_argument(
        "--workers", type=int, metavar="N", help="processes that encode (default: all cores)"
    )

    choice = parser.add_argument_group("how it is split")
    choice.add_argument(
        "--valid-share",
        type=float,
        metavar="SHARE",
        help="of the documents, for validation (default: 0.01)",
    )
    choice.add_argument(
        "--test-share",
        type=float,
        metavar="SHARE",
        help="of the documents, for a test set (default: 0)",
    )
    choice.add_argument(
        "--shards",
        type=int,
        metavar="N",
        help="folders the training documents are dealt out to, of which an epoch reads one (default: 1)",
    )
    choice.add_argument(
        "--seed", type=int, metavar="N", help="for both choices, of split and shard (default: 1)"
    )

    output = parser.add_argument_group("what is written")
    output.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="DATA",
        help="the data folder, or, of several shards, the folder of their folders shard0, shard1 ...; its pieces lie in "
        "DATA.parts until it is made",
    )
    output.add_argument(
        "--part",
        metavar="i/n",
        help="encode the i-th of n parts only, i from 1 (default: encode all and join)",
    )
    output.add_argument(
        "--merge",
        action="store_true",
        help="join the parts in DATA.parts, those made elsewhere copied there; needs neither text nor encoder",
    )
    return parser


if __name__ == "__main__":
    gc.disable()  # many short lists, none in a cycle
    sys.exit(main())
