"""Converts running text to fairseq shards for masked-LM pre-training (`--task masked_lm_kd`).

    python -m preprocess.corpus --input wiki --input books --encoder-dir gpt2_bpe --out data/corpus --shards 8

A hash of text and seed assigns each document to train, valid or test, and to a shard. So the assignment does not
depend on the order of files or the number of processes, and copies of a document stay together. Each line of the
result is a sentence. If the encoder distinguishes spaces, sentences after the first of a paragraph keep the space
before them. A row with only </s> ends each document, as fairseq's complete_doc expects.

The text is divided into pieces of 1 to 16 MiB. --workers processes encode them and store each piece in OUT.parts;
at the end all pieces are joined. A file compressed by gzip, bzip2 or xz is not divided: one process reads it as a
stream. The same command resumes a killed run from its finished pieces. --part i/n encodes one of n parts, on any
machine that has the input; --merge joins them. --launcher slurm submits these commands as Slurm jobs.

Memory of a process does not depend on the size of the corpus: encoder and one piece need 75 MiB for pieces of 1 MiB,
170 MiB for 16 MiB, and 180 MiB with documents as long as the longest piece (measured with the gpt2 encoder). The first
process needs 0.7 KiB more for each file and piece. Disk: twice the size of the result during joining.
"""

import argparse
import gc
import os
import sys
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ..commands import add_encoder_options, exit_status
from ..encoders import cores, load_encoder, use_cores
from ..errors import DataError
from ..worker_processes import run
from .encode_pieces import PieceEncoder, check_splits
from .input_files import Source, find_sources
from .join_shards import join, shard_folders
from .pieces_folder import PiecesFolder, check_same, find_folder, open_folder
from .plan_pieces import LARGEST, MIB, Options, Piece, cut

OPTIONS = [field.name for field in fields(Options)]


def main(arguments: list[str] | None = None) -> int:
    """Run the command and return its exit status."""
    arguments = sys.argv[1:] if arguments is None else arguments
    args = _parser().parse_args(arguments)
    work = _merge if args.merge else partial(_submit, arguments) if args.launcher == "slurm" else _make
    note = "run the same command again to continue."
    return exit_status("preprocess.corpus", lambda: work(args), args.out, note)


def _submit(arguments: list[str], args: argparse.Namespace) -> None:
    """Submit the parts as an array of Slurm jobs, and a job that joins them, unless the corpus exists already."""
    from launcher.execution.slurm import Command, after_all, open_slurm

    if args.out.exists():
        _make(args)
        return
    _check(args, Options(**_given_options(args)))
    if args.part or args.parts is None or args.parts < 1:
        raise DataError("--launcher slurm needs --parts N, the number of jobs, instead of --part i/n.")
    find_sources(args.input)
    _, words = _slurm_parser().parse_known_args(arguments)  # the arguments that encode and join all parts
    out, program = args.out, [sys.executable, "-m", "preprocess.corpus"]
    try:
        queue = open_slurm(out.with_name(f"{out.name}.slurm"), args.slurm or "")
        cpus = queue.parameters.get("cpus_per_task")
        if cpus and args.workers is None:
            words = [*words, "--workers", str(cpus)]
        shares = [f"{part}/{args.parts}" for part in range(1, args.parts + 1)]
        encode = [Command([*program, *words, "--part", share]) for share in shares]
        encoding = queue.submit(encode, f"{out.name}-encode")
        merge = Command([*program, "--merge", "--out", str(out)])
        joining = queue.submit([merge], f"{out.name}-join", after_all(encoding))
    except ValueError as error:
        raise DataError(f"{error}.") from None
    ids = f"{encoding[0].partition('_')[0]} {joining[0]}"
    print(
        f"Submitted {args.parts} jobs that encode, and one that joins; the same command continues after a failure."
    )
    print(f"Watch them: squeue --me; logs in {queue.folder}")
    print(f"Stop them:  scancel {ids}")


def _make(args: argparse.Namespace) -> None:
    options = Options(**_given_options(args))
    part = _check(args, options)
    sources = find_sources(args.input)
    use_cores(args.workers)
    encoder = load_encoder(args.encoder_dir, args.encoder)
    if args.out.exists():
        check_same(args.out, sources, encoder, options)
        print(f"{args.out} is up to date.")
        return

    pieces = cut(sources)
    check_splits(pieces, options)
    parts = open_folder(args.out, sources, pieces, encoder, options)
    _note_sources(sources)
    mine = pieces if part is None else _share_of(pieces, *part)
    _encode(mine, parts, PieceEncoder(encoder, options, parts.folder), args.workers or cores())

    if part is None:
        _print_summary(args.out, join(parts, args.out))
    else:
        print(
            f"{parts.folder}: part {args.part} is done, {len(mine)} of {len(pieces)} pieces; when all parts are present: "
            f"python -m preprocess.corpus --merge --out {args.out}"
        )


def _given_options(args: argparse.Namespace) -> dict[str, Any]:
    return {name: getattr(args, name) for name in OPTIONS if getattr(args, name) is not None}


def _merge(args: argparse.Namespace) -> None:
    _print_summary(args.out, join(find_folder(args.out), args.out))


def _check(args: argparse.Namespace, options: Options) -> tuple[int, int] | None:
    """Raise DataError for invalid arguments; return --part as numbers."""
    for flag, value in (("--input", args.input), ("--encoder-dir", args.encoder_dir)):
        if not value:
            raise DataError(f"{flag} is missing: give --input and --encoder-dir, or join parts with --merge.")
    for flag, value in (("--shards", options.shards), ("--workers", args.workers), ("--seed", options.seed)):
        least = 0 if flag == "--seed" else 1
        if value is not None and value < least:
            raise DataError(f"{flag} {value} is out of range: give at least {least}.")
    if options.longest < 8:
        raise DataError(f"--longest {options.longest} is out of range: give at least 8 tokens.")
    shares = (options.valid_share, options.test_share)
    if not (all(share >= 0 for share in shares) and sum(shares) < 1):
        raise DataError(
            f"--valid-share {shares[0]:g} and --test-share {shares[1]:g} are out of range: "
            "give numbers of at least 0 with a sum below 1."
        )
    if args.launcher != "slurm" and (args.slurm or args.parts is not None):
        raise DataError("--slurm and --parts are for --launcher slurm: add that, or remove them.")
    return _part(args.part) if args.part else None


def _part(given: str) -> tuple[int, int]:
    number, mark, parts = given.partition("/")
    if mark and number.isdecimal() and parts.isdecimal() and 1 <= int(number) <= int(parts):
        return int(number), int(parts)
    raise DataError(f"--part {given} is invalid: give i/n with i from 1 to n, such as 1/4.")


def _share_of(pieces: list[Piece], part: int, parts: int) -> list[Piece]:
    """Return the pieces of part i of n, i from 1: neighbouring pieces, so that a part reads few files."""
    return pieces[len(pieces) * (part - 1) // parts : len(pieces) * part // parts]


def _encode(pieces: list[Piece], parts: PiecesFolder, work: PieceEncoder, workers: int) -> None:
    done = {piece.number for piece in parts.done(pieces)}
    left = [piece for piece in pieces if piece.number not in done]
    if done:
        print(f"{len(done)} of {len(pieces)} pieces are already done.", file=sys.stderr)

    total = sum(piece.size for piece in pieces)
    # A terminal shows a bar, a log file a line every 30 seconds.
    interval = 0.1 if sys.stderr.isatty() else 30
    unit = {"unit": "B", "unit_scale": True, "unit_divisor": 1024, "mininterval": interval}
    with tqdm(desc="encoding", total=total, initial=total - sum(piece.size for piece in left), **unit) as bar:
        for size in run(left, work, workers):
            bar.update(size)


def _note_sources(sources: list[Source]) -> None:
    for source in sources:
        size = f"{source.size / MIB:,.1f} MiB"
        compressed = sum(file.compressed for file in source.files)
        size += f" ({compressed:,} of them compressed)" if compressed else ""
        print(f"{source.name}: {len(source.files):,} files, {size}, read as {source.kind}", file=sys.stderr)
        for file in source.files:
            if file.compressed and file.size > LARGEST:
                print(
                    f"{file.name} is compressed, so one process reads the whole file: decompress it to use several.",
                    file=sys.stderr,
                )


def _print_summary(out: Path, meta: dict) -> None:
    print(f"{out}  ({meta['encoder']['name']})")
    for split, counts in meta["splits"].items():
        line = "".join(f"{counts[name]:>14,} {name}" for name in ("documents", "lines", "tokens"))
        print(f"  {split:<6}{line}  ({counts['cut']:,} sentences cut)")
    empty, dropped = (sum(source[name] for source in meta["sources"]) for name in ("empty", "dropped"))
    if empty or dropped:
        print(f"  dropped: {empty:,} documents without text, {dropped:,} lines of tables and templates")
    print(os.pathsep.join(map(str, shard_folders(out, len(meta["shards"])))))


def _slurm_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    group = parser.add_argument_group("many machines")
    group.add_argument(
        "--launcher",
        choices=["local", "slurm"],
        help="local: encode on this machine; slurm: submit the parts as Slurm jobs, and return (default: local)",
    )
    group.add_argument(
        "--parts", type=int, metavar="N", help="with --launcher slurm: number of jobs that encode"
    )
    group.add_argument(
        "--slurm",
        metavar="KEY=VALUE,...",
        help="options of sbatch for each job, such as partition=cpu,time=4:00:00,cpus_per_task=16; time is required",
    )
    return parser


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        parents=[_slurm_parser()],
        allow_abbrev=False,
        prog="python -m preprocess.corpus",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )

    files = parser.add_argument_group("input")
    files.add_argument(
        "--input",
        action="append",
        metavar="PATH[=KIND]",
        help="file, or folder with all files below it, compressed (gzip, bzip2, xz) or not; may be repeated. KIND is wiki "
        "(WikiExtractor's <doc> files), json (files of WikiExtractor --json), text (a blank line between documents) or "
        "book (one document per file, wrapped lines, a blank line between paragraphs) (default: detected from the text)",
    )

    encoding = parser.add_argument_group("encoding")
    add_encoder_options(encoding, required=False)
    encoding.add_argument(
        "--longest",
        type=int,
        metavar="N",
        help="maximum tokens of a line, including </s>; longer sentences are split between words. Training blocks are "
        "made of whole lines, so this must be below --tokens-per-sample (default: 127 tokens)",
    )
    encoding.add_argument("--workers", type=int, metavar="N", help="encoding processes (default: all cores)")

    choice = parser.add_argument_group("splits")
    choice.add_argument(
        "--valid-share",
        type=float,
        metavar="SHARE",
        help="share of the documents for validation (default: 0.01)",
    )
    choice.add_argument(
        "--test-share", type=float, metavar="SHARE", help="share of the documents for a test set (default: 0)"
    )
    choice.add_argument(
        "--shards",
        type=int,
        metavar="N",
        help="number of folders for the training documents; an epoch reads one folder (default: 1)",
    )
    choice.add_argument("--seed", type=int, metavar="N", help="seed of splits and shards (default: 1)")

    output = parser.add_argument_group("output")
    output.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="DATA",
        help="data folder, or for several shards the parent folder of shard0, shard1 ...; pieces are stored in "
        "DATA.parts until all are joined",
    )
    output.add_argument(
        "--part",
        metavar="i/n",
        help="encode only the i-th of n parts, i from 1 (default: encode all and join)",
    )
    output.add_argument(
        "--merge",
        action="store_true",
        help="join the parts in DATA.parts; first copy parts from other machines there. Needs no other flags",
    )
    return parser


if __name__ == "__main__":
    gc.disable()  # many short lists without cycles
    sys.exit(main())
