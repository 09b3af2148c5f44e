"""Compares the preprocessing of running text with fairseq's scripts: seconds on the same text and cores.

    python -m benchmarks.corpus --input wiki/AA/wiki_00 --input wiki/AA/wiki_01 --encoder-dir gpt2_bpe --record

Timed   ours      python -m preprocess.corpus on lines, one sentence each; start-up included
        from raw  the same on --input: cleaned and split into sentences; start-up included
        fairseq   multiprocessing_bpe_encoder.py, then fairseq-preprocess, on the lines; start-up included
        encoder   the Rust tokenizer alone: `encode_batch` of all lines, in a process that has loaded both
Check   our .bin and .idx files must equal fairseq's, byte for byte, or nothing is printed
Method  --workers processes, or threads of the encoder; one run of ours to warm the file cache; then all in turn,
        --repeats times, fairseq's scripts --slow-repeats times: median, fastest and slowest
Output  with --record, one row per variant in benchmarks/results.csv, with device, versions, commit, date
"""

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from benchmarks import preprocess
from preprocess.corpus.read_pieces import clean_lines

UNLIMITED = 1_000_000  # tokens of a line, so that none is cut; fairseq cuts none


def write_lines(inputs: list[str], out: Path) -> Path:
    """Write the input of fairseq's scripts: one clean sentence per line, a blank line after each document."""
    with out.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(f"{line}\n" for line in clean_lines(inputs))
    return out


def ours(args: argparse.Namespace, inputs: list[str], out: Path, longest: int = UNLIMITED) -> float:
    """Return the seconds of preprocess.corpus."""
    shutil.rmtree(out, ignore_errors=True)
    command = ["-m", "preprocess.corpus", "--encoder-dir", args.encoder_dir, "--out", out]
    command += ["--valid-share", "0", "--longest", longest, "--workers", args.workers]
    return preprocess.timed([sys.executable, *command, *(f"--input={given}" for given in inputs)])


def add_input_option(parser: argparse.ArgumentParser) -> None:
    """Add --input, the text."""
    parser.add_argument(
        "--input",
        action="append",
        required=True,
        metavar="PATH",
        help="text, as for preprocess.corpus; may be repeated",
    )


def main() -> int:
    """Run the benchmark and return exit status 0."""
    parser = argparse.ArgumentParser(description="Preprocessing of text, ours and fairseq's: seconds.")
    add_input_option(parser)
    preprocess.add_options(parser)
    args = parser.parse_args()

    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        text = write_lines(args.input, work / "lines.txt")
        own = {
            "ours": lambda: ours(args, [f"{text}=text"], work / "ours"),
            "ours from raw": lambda: ours(args, args.input, work / "raw", longest=127),
        }
        times = preprocess.compare(args, text, work, own)
        preprocess.check_equal(work / "ours", work / "fairseq0" / "bin")
        megabytes = text.stat().st_size / 1e6

    print(f"{megabytes:.1f} MB of lines, {args.workers} workers; files equal byte for byte")
    preprocess.print_times(times)
    if args.record:
        names = {"ours": "preprocess.corpus", "ours from raw": "preprocess.corpus from raw text"}
        preprocess.record_times(times, names, f"corpus {megabytes:.1f} MB {args.workers} workers")
    return 0


if __name__ == "__main__":
    sys.exit(main())
