"""Running text to binarized data, ours against fairseq's own scripts: seconds on the same text and cores.

    python -m benchmarks.corpus --input wiki/AA/wiki_00 --input wiki/AA/wiki_01 --encoder-dir gpt2_bpe --record

Timed   ours      python -m preprocess.corpus of the lines, one a sentence; start-up included
        from raw  the same from --input itself, cleaned, cut into sentences and split; start-up included
        fairseq   multiprocessing_bpe_encoder.py, then fairseq-preprocess, of the lines; start-up included
        encoder   the Rust tokenizer alone: `encode_batch` of all lines, in a process that has loaded both
Equal   the .bin and .idx files of ours and fairseq's, byte for byte, or nothing is printed
How     processes = --workers for all, threads for the encoder; each --repeats times, fairseq's scripts
        --slow-repeats times, in turn, after one run of ours to warm the file cache: median, fastest and slowest
Writes  with --record one row a variant to benchmarks/results.csv, with device, versions, commit, date
"""

import argparse
import shutil
import statistics
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

import torch

from benchmarks import preprocess
from benchmarks.record import record
from preprocess.corpus.lines import clean_lines

WHOLE = 1_000_000  # tokens of a line: none is cut, as fairseq cuts none


def write_lines(inputs: list[str], out: Path) -> Path:
    """What fairseq's scripts start from: clean sentences, one a line, a blank one after each document."""
    with out.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(f"{line}\n" for line in clean_lines(inputs))
    return out


def ours(args: argparse.Namespace, inputs: list[str], out: Path, longest: int = WHOLE) -> float:
    shutil.rmtree(out, ignore_errors=True)
    command = ["-m", "preprocess.corpus", "--encoder-dir", args.encoder_dir, "--out", out]
    command += ["--valid-share", "0", "--longest", longest, "--workers", args.workers]
    return preprocess.timed([sys.executable, *command, *(f"--input={given}" for given in inputs)])


def add_input_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--input",
        action="append",
        required=True,
        metavar="PATH",
        help="text as preprocess.corpus takes it; may be given several times",
    )


def main() -> int:
    parser = argparse.ArgumentParser(description="Running text, ours against fairseq's scripts: seconds.")
    add_input_option(parser)
    preprocess.add_options(parser)
    args = parser.parse_args()

    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        text = write_lines(args.input, work / "lines.txt")
        times = {"ours": [], "ours from raw": [], "fairseq": [], "encoder alone": []}
        ours(args, [f"{text}=text"], work / "ours")
        for repeat in range(max(args.repeats, args.slow_repeats)):
            if repeat < args.slow_repeats:
                theirs = work / f"fairseq{repeat}"
                theirs.mkdir()
                times["fairseq"].append(preprocess.fairseq(args, text, theirs))
            if repeat < args.repeats:
                times["ours"].append(ours(args, [f"{text}=text"], work / "ours"))
                times["ours from raw"].append(ours(args, args.input, work / "raw", longest=127))
                times["encoder alone"].append(preprocess.encoder_alone(args, text))
        preprocess.check_equal(work / "ours", work / "fairseq0" / "bin")
        megabytes = text.stat().st_size / 1e6

    _print(times, megabytes, args.workers)
    if args.record:
        _record(times, megabytes, args.workers)
    return 0


def _print(times: dict[str, list[float]], megabytes: float, workers: int) -> None:
    print(f"{megabytes:.1f} MB of lines, {workers} workers; files equal byte for byte")
    mine = statistics.median(times["ours"])
    for name, seconds in times.items():
        middle = statistics.median(seconds)
        spread = f"({min(seconds):.2f} to {max(seconds):.2f}, {len(seconds)} runs)"
        ratios = f"   ours / it = {mine / middle:.2f}   it / ours = {middle / mine:.2f}"
        print(f"{name:<14}{middle:8.2f} s  {spread}{'' if name == 'ours' else ratios}")


def _record(times: dict[str, list[float]], megabytes: float, workers: int) -> None:
    made_by = {
        "ours": "preprocess.corpus",
        "ours from raw": "preprocess.corpus from raw text",
        "fairseq": f"fairseq {version('fairseq')} scripts",
        "encoder alone": f"tokenizers {version('tokenizers')} encode_batch alone",
    }
    mine = statistics.median(times["ours"])
    for name, seconds in times.items():
        middle = statistics.median(seconds)
        what = f"corpus {megabytes:.1f} MB {workers} workers"
        record(what, made_by[name], middle, "s", middle / mine, torch.device("cpu"))


if __name__ == "__main__":
    sys.exit(main())
