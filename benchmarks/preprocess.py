"""Raw text to binarized data, ours against fairseq's own scripts: seconds on the same file and cores.

    python -m benchmarks.preprocess --input glue/SST-2/train.tsv --encoder-dir gpt2_bpe --record

Timed   ours      python -m preprocess.glue: reads the TSV, writes sentences, labels, meta.json; start-up included
        fairseq   multiprocessing_bpe_encoder.py, then fairseq-preprocess, of the sentences alone (no labels),
                  already cut out of the TSV; start-up included
        encoder   the Rust tokenizer alone: `encode_batch` of all sentences, in a process that has loaded both
Equal   the .bin and .idx files of ours and fairseq's, byte for byte, or nothing is printed
How     processes = --workers for all; ours and the encoder --repeats times, fairseq's scripts --slow-repeats times,
        in turn, after one run of ours to warm the file cache: median, fastest and slowest
Writes  with --record one row a variant to benchmarks/results.csv, with device, versions, commit, date
"""

import argparse
import filecmp
import os
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import torch

from benchmarks.record import record

ENCODER_ALONE = """
import sys, time
from tokenizers import Tokenizer, models, pre_tokenizers

folder, text = sys.argv[1:]
tokenizer = Tokenizer(models.BPE.from_file(f"{folder}/encoder.json", f"{folder}/vocab.bpe"))
tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
sentences = open(text, encoding="utf-8", newline="\\n").read().removesuffix("\\n").split("\\n")
start = time.perf_counter()
encodings = tokenizer.encode_batch(sentences, add_special_tokens=False)
print(time.perf_counter() - start)
"""


def ours(args: argparse.Namespace, out: Path) -> float:
    command = ["-m", "preprocess.glue", "--tasks", "SST-2", "--train-file", args.input, "--splits", "train"]
    command += ["--encoder-dir", args.encoder_dir, "--workers", args.workers, "--out", out, "--overwrite"]
    return timed([sys.executable, *command])


def fairseq(args: argparse.Namespace, text: Path, out: Path) -> float:
    script = (
        Path(find_spec("fairseq").origin).parent / "examples" / "roberta" / "multiprocessing_bpe_encoder.py"
    )
    files = [
        "--encoder-json",
        args.encoder_dir / "encoder.json",
        "--vocab-bpe",
        args.encoder_dir / "vocab.bpe",
    ]
    bpe = ["--inputs", text, "--outputs", out / "train.bpe", "--workers", args.workers, "--keep-empty"]
    binarize = ["--only-source", "--trainpref", out / "train.bpe", "--destdir", out / "bin"]
    binarize += ["--workers", args.workers, "--srcdict", args.encoder_dir / "dict.txt"]
    return timed([sys.executable, script, *files, *bpe]) + timed(
        [sys.executable, "-m", "fairseq_cli.preprocess", *binarize]
    )


def encoder_alone(args: argparse.Namespace, text: Path) -> float:
    done = _run([sys.executable, "-c", ENCODER_ALONE, args.encoder_dir, text], args.workers)
    return float(done.stdout)


def add_options(parser: argparse.ArgumentParser) -> None:
    """What every benchmark against fairseq's scripts can be told, beside its input."""
    parser.add_argument(
        "--encoder-dir", type=Path, required=True, metavar="DIR", help="a gpt2 encoder folder"
    )
    parser.add_argument(
        "--workers", type=int, default=os.cpu_count(), help="processes or threads (default: all cores)"
    )
    parser.add_argument(
        "--repeats", type=int, default=5, help="timed runs of ours and the encoder (default: 5)"
    )
    parser.add_argument(
        "--slow-repeats", type=int, default=3, help="timed runs of fairseq's scripts (default: 3)"
    )
    parser.add_argument(
        "--record", action="store_true", help="append to benchmarks/results.csv (default: print only)"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description="Preprocessing, ours against fairseq's scripts: seconds.")
    parser.add_argument(
        "--input", type=Path, required=True, metavar="TSV", help="SST-2's train.tsv, or one like it"
    )
    add_options(parser)
    args = parser.parse_args()

    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        text = _sentences(args.input, work / "sentences.txt")
        times = {"ours": [], "fairseq": [], "encoder alone": []}
        ours(args, work)
        for repeat in range(max(args.repeats, args.slow_repeats)):
            if repeat < args.slow_repeats:
                theirs = work / f"fairseq{repeat}"
                theirs.mkdir()
                times["fairseq"].append(fairseq(args, text, theirs))
            if repeat < args.repeats:
                times["ours"].append(ours(args, work))
                times["encoder alone"].append(encoder_alone(args, text))
        lines = text.read_bytes().count(b"\n")
        check_equal(work / "SST-2-bin" / "input0", work / "fairseq0" / "bin")

    _print(times, lines, args)
    if args.record:
        _record(times, lines, args)
    return 0


def _sentences(tsv: Path, out: Path) -> Path:
    """The sentence column, one a line: what fairseq's scripts start from."""
    rows = tsv.read_bytes().decode().removesuffix("\n").split("\n")
    column = rows[0].split("\t").index("sentence")
    out.write_text(
        "".join(row.split("\t")[column] + "\n" for row in rows[1:]), encoding="utf-8", newline="\n"
    )
    return out


def check_equal(mine: Path, theirs: Path) -> None:
    for name in ("train.bin", "train.idx"):
        if not filecmp.cmp(mine / name, theirs / name, shallow=False):
            sys.exit(f"benchmarks.preprocess: {name} differs from fairseq's, so no time is worth printing.")


def timed(command: list) -> float:
    start = time.perf_counter()
    _run(command)
    return time.perf_counter() - start


def _run(command: list, workers: int | None = None) -> subprocess.CompletedProcess:
    environment = dict(os.environ)
    if workers:
        environment["RAYON_NUM_THREADS"] = str(workers)
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, env=environment)
    if done.returncode:
        sys.exit(f"benchmarks.preprocess: {command[1:3]} failed:\n{done.stderr[-2000:]}")
    return done


def _print(times: dict[str, list[float]], lines: int, args: argparse.Namespace) -> None:
    print(f"{lines:,} lines of {args.input.name}, {args.workers} workers; files equal byte for byte")
    mine = statistics.median(times["ours"])
    for name, seconds in times.items():
        middle = statistics.median(seconds)
        ratio = (
            "" if name == "ours" else f"   ours / it = {mine / middle:.2f}   it / ours = {middle / mine:.2f}"
        )
        print(
            f"{name:<14}{middle:8.2f} s  ({min(seconds):.2f} to {max(seconds):.2f}, {len(seconds)} runs){ratio}"
        )


def _record(times: dict[str, list[float]], lines: int, args: argparse.Namespace) -> None:
    made_by = {
        "ours": "preprocess.glue",
        "fairseq": f"fairseq {version('fairseq')} scripts",
        "encoder alone": f"tokenizers {version('tokenizers')} encode_batch alone",
    }
    mine = statistics.median(times["ours"])
    for name, seconds in times.items():
        middle = statistics.median(seconds)
        what = f"preprocess {lines} lines {args.workers} workers"
        record(what, made_by[name], middle, "s", middle / mine, torch.device("cpu"))


if __name__ == "__main__":
    sys.exit(main())
