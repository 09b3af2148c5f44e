"""Compares preprocessing with fairseq's scripts: seconds on the same text and cores.

    python -m benchmarks.preprocess --sst2 glue/SST-2/train.tsv --encoder-dir gpt2_bpe --record
    python -m benchmarks.preprocess --text wiki/AA/wiki_00 --text wiki/AA/wiki_01 --encoder-dir gpt2_bpe --record

Timed   ours      with --sst2, python -m preprocess.glue: reads the TSV, writes sentences, labels, meta.json;
                  with --text, python -m preprocess.corpus on lines, one sentence each; start-up included
        from raw  with --text, the same on the files themselves: cleaned and split into sentences
        fairseq   multiprocessing_bpe_encoder.py, then fairseq-preprocess, on the sentences only (no labels),
                  extracted before; start-up included
        encoder   the Rust tokenizer alone: `encode_batch` of all sentences, in a process that has loaded both
Check   our .bin and .idx files must equal fairseq's, byte for byte, or nothing is printed
Method  --workers processes, or threads of the encoder; one run of ours to warm the file cache; then all in turn,
        --repeats times, fairseq's scripts --slow-repeats times: median, fastest and slowest
Output  with --record, one row per variant in benchmarks/results.csv, with device, versions, commit, date
"""

import argparse
import filecmp
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import torch

from benchmarks.record import add_numbers, record
from preprocess.corpus.read_pieces import clean_lines

UNLIMITED = 1_000_000  # tokens of a line, so that none is cut; fairseq cuts none

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


def glue(args: argparse.Namespace, out: Path) -> float:
    """Return the seconds of preprocess.glue."""
    command = ["-m", "preprocess.glue", "--tasks", "SST-2", "--train-file", args.sst2, "--splits", "train"]
    command += ["--encoder-dir", args.encoder_dir, "--workers", args.workers, "--out", out, "--overwrite"]
    return timed([sys.executable, *command])


def corpus(args: argparse.Namespace, inputs: Sequence[str], out: Path, longest: int) -> float:
    """Return the seconds of preprocess.corpus."""
    shutil.rmtree(out, ignore_errors=True)
    command = ["-m", "preprocess.corpus", "--encoder-dir", args.encoder_dir, "--out", out]
    command += ["--valid-share", "0", "--longest", longest, "--workers", args.workers]
    return timed([sys.executable, *command, *(f"--input={given}" for given in inputs)])


def fairseq(args: argparse.Namespace, text: Path, out: Path) -> float:
    """Return the seconds of fairseq's two scripts."""
    script = (
        Path(find_spec("fairseq").origin).parent / "examples" / "roberta" / "multiprocessing_bpe_encoder.py"
    )
    encoder = args.encoder_dir
    files = ["--encoder-json", encoder / "encoder.json", "--vocab-bpe", encoder / "vocab.bpe"]
    bpe = ["--inputs", text, "--outputs", out / "train.bpe", "--workers", args.workers, "--keep-empty"]
    binarize = ["--only-source", "--trainpref", out / "train.bpe", "--destdir", out / "bin"]
    binarize += ["--workers", args.workers, "--srcdict", encoder / "dict.txt"]
    return timed([sys.executable, script, *files, *bpe]) + timed(
        [sys.executable, "-m", "fairseq_cli.preprocess", *binarize]
    )


def encoder_alone(args: argparse.Namespace, text: Path) -> float:
    """Return the seconds of the Rust tokenizer."""
    done = _run([sys.executable, "-c", ENCODER_ALONE, args.encoder_dir, text], args.workers)
    return float(done.stdout)


def compare(
    args: argparse.Namespace, text: Path, work: Path, own: dict[str, Callable[[], float]]
) -> dict[str, list[float]]:
    """Return the seconds of all variants in turn; the result of fairseq's scripts is WORK/fairseq0/bin.

    text  the lines that fairseq's scripts and the encoder get
    own   our variants; the first one runs once before, to warm the file cache
    """
    times: dict[str, list[float]] = {name: [] for name in [*own, "fairseq", "encoder alone"]}
    next(iter(own.values()))()
    for repeat in range(max(args.repeats, args.slow_repeats)):
        if repeat < args.slow_repeats:
            theirs = work / f"fairseq{repeat}"
            theirs.mkdir()
            times["fairseq"].append(fairseq(args, text, theirs))
        if repeat < args.repeats:
            for name, variant in own.items():
                times[name].append(variant())
            times["encoder alone"].append(encoder_alone(args, text))
    return times


def main() -> int:
    """Run the benchmark and return exit status 0."""
    args = _parser().parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        text = work / "lines.txt"
        lines = _sentences(args.sst2) if args.sst2 else clean_lines(args.text)
        with text.open("w", encoding="utf-8", newline="\n") as file:
            file.writelines(f"{line}\n" for line in lines)
        if args.sst2:
            ours, names = work / "SST-2-bin" / "input0", {"ours": "preprocess.glue"}
            own = {"ours": lambda: glue(args, work)}
        else:
            ours = work / "ours"
            names = {"ours": "preprocess.corpus", "ours from raw": "preprocess.corpus from raw text"}
            own = {
                "ours": lambda: corpus(args, [f"{text}=text"], ours, UNLIMITED),
                "ours from raw": lambda: corpus(args, args.text, work / "raw", 127),
            }
        times = compare(args, text, work, own)
        check_equal(ours, work / "fairseq0" / "bin")
        size = f"{text.stat().st_size / 1e6:.1f} MB of lines"

    print(f"{size}, {args.workers} workers; files equal byte for byte")
    print_times(times)
    if args.record:
        record_times(times, names, f"preprocess {size} {args.workers} workers")
    return 0


def _sentences(tsv: Path) -> list[str]:
    """Return the column of sentences."""
    rows = tsv.read_bytes().decode().removesuffix("\n").split("\n")
    column = rows[0].split("\t").index("sentence")
    return [row.split("\t")[column] for row in rows[1:]]


def check_equal(mine: Path, theirs: Path) -> None:
    """Exit if our files differ from fairseq's."""
    for name in ("train.bin", "train.idx"):
        if not filecmp.cmp(mine / name, theirs / name, shallow=False):
            sys.exit(f"benchmarks.preprocess: {name} differs from fairseq's: nothing to compare.")


def timed(command: list) -> float:
    """Run a command; return its seconds."""
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


def print_times(times: dict[str, list[float]]) -> None:
    """Print the median and range of each variant, and its ratio to ours."""
    mine = statistics.median(times["ours"])
    for name, seconds in times.items():
        middle = statistics.median(seconds)
        spread = f"({min(seconds):.2f} to {max(seconds):.2f}, {len(seconds)} runs)"
        ratios = f"   ours / it = {mine / middle:.2f}   it / ours = {middle / mine:.2f}"
        print(f"{name:<14}{middle:8.2f} s  {spread}{'' if name == 'ours' else ratios}")


def record_times(times: dict[str, list[float]], own: dict[str, str], benchmark: str) -> None:
    """Record the median of each variant. own: our variants, with their names in the results."""
    names = own | {
        "fairseq": f"fairseq {version('fairseq')} scripts",
        "encoder alone": f"tokenizers {version('tokenizers')} encode_batch alone",
    }
    mine = statistics.median(times["ours"])
    for name, seconds in times.items():
        middle = statistics.median(seconds)
        record(benchmark, names[name], middle, "s", middle / mine, torch.device("cpu"))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    given = parser.add_mutually_exclusive_group(required=True)
    given.add_argument("--sst2", type=Path, metavar="TSV", help="SST-2's train.tsv, or a file like it")
    given.add_argument(
        "--text", action="append", metavar="PATH", help="text, as for preprocess.corpus; may be repeated"
    )
    parser.add_argument("--encoder-dir", type=Path, required=True, metavar="DIR", help="gpt2 encoder folder")
    numbers = {"workers": (os.cpu_count() or 1, "processes or threads"), "repeats": (5, "timed runs of ours")}
    add_numbers(parser, numbers | {"slow-repeats": (3, "timed runs of fairseq's scripts")})
    parser.add_argument("--record", action="store_true", help="append to results.csv (default: print only)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
