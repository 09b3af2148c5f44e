"""Peak memory of preprocess.corpus while its input grows tenfold: MiB.

    python -m benchmarks.corpus_memory --input wiki --encoder-dir gpt2_bpe --record

Measured  the largest resident set of the first process and that of its workers, as the kernel counts them (Linux)
Over      the lines of --input, again and again: 4 and 40 pieces of each size of --pieces in one file; as much of the
          first size in files of 4 KiB; and documents as long as the longest piece
How       each a process of its own, with --workers
Writes    with --record one row a variant to benchmarks/results.csv: of a process the most, its ratio to that over the
          smaller input; and what the first process holds more for each file
"""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

import torch

from benchmarks.corpus import add_input_option, write_lines
from benchmarks.record import record

MIB = 1 << 20
PIECES, TIMES = 4, 10  # of the smaller input; the other is so many times as large
FILE = 4096  # bytes, where there are many

# ru_maxrss of a process counts what its parent held when it was made; VmHWM, and that of children, do not.
CODE = """
import atexit, re, resource, runpy, sys
from pathlib import Path
from preprocess.corpus import plan

def show():
    own = re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]
    print(own, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)

plan.SMALLEST, plan.LARGEST = int(sys.argv.pop(1)), int(sys.argv.pop(1))
atexit.register(show)
runpy.run_module("preprocess.corpus", run_name="__main__", alter_sys=True)
"""


@dataclass(frozen=True)
class Peak:
    """MiB at most: of the first process, and of the worker that held most."""

    first: float
    worker: float


def measure(text: Path, encoder: Path, workers: int, piece: int, longest: int) -> Peak:
    """Of one call over `text` with pieces of `piece` bytes; documents are cut at `longest`."""
    command = [sys.executable, "-c", CODE, piece, longest, f"--input={text}=text", "--encoder-dir", encoder]
    with tempfile.TemporaryDirectory() as out:
        command += ["--out", f"{out}/data", "--valid-share", "0", "--workers", workers]
        done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"benchmarks.corpus_memory: preprocess.corpus failed:\n{done.stderr[-2000:]}")
    return Peak(*(int(kib) / 1024 for kib in done.stdout.split("\n")[-2].split()))


def write_file(lines: Iterator[bytes], out: Path, size: int) -> Path:
    """`size` bytes, or less than a line more."""
    with out.open("wb") as file:
        while file.tell() < size:
            file.write(next(lines))
    return out


def write_files(lines: Iterator[bytes], out: Path, size: int) -> Path:
    """As much, in files of FILE bytes."""
    out.mkdir()
    for number in range(size // FILE):
        write_file(lines, out / f"{number:06}", FILE)
    return out


def grown(
    name: str, args: argparse.Namespace, texts: dict[str, Path], piece: int, longest: int
) -> list[Peak]:
    """Measures and prints (and records) one text after the other; `texts` are called by their sizes."""
    peaks = []
    for size, text in texts.items():
        peak = measure(text, args.encoder_dir, args.workers, piece, longest)
        peaks.append(peak)
        ratio = max(peak.first, peak.worker) / max(peaks[0].first, peaks[0].worker)
        print(
            f"{name:<28}{size:>12}{peak.first:8.1f} MiB first{peak.worker:8.1f} MiB a worker  {ratio:.2f} x"
        )
        if args.record:
            what = f"corpus memory, {name}, {args.workers} workers"
            record(what, size, max(peak.first, peak.worker), "MiB", ratio, torch.device("cpu"))
    return peaks


def main() -> int:
    parser = argparse.ArgumentParser(
        description="Peak memory of preprocess.corpus while its input grows: MiB."
    )
    add_input_option(parser)
    parser.add_argument("--encoder-dir", type=Path, required=True, metavar="DIR", help="an encoder folder")
    parser.add_argument("--workers", type=int, default=2, help="processes that encode, from 2 (default: 2)")
    parser.add_argument(
        "--pieces",
        type=float,
        nargs="+",
        default=[1, 16],
        metavar="MIB",
        help="sizes of a piece in MiB, the largest also that of the longest document (default: 1 16)",
    )
    parser.add_argument(
        "--record", action="store_true", help="append to benchmarks/results.csv (default: print only)"
    )
    args = parser.parse_args()

    sizes = [int(size * MIB) for size in args.pieces]
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        with write_lines(args.input, work / "lines").open("rb") as file:
            lines = list(file)
        endless = cycle(lines)

        for piece in sizes:
            texts = {
                f"{size / MIB:g} MiB": write_file(endless, work / f"{piece} {size}", size)
                for size in (PIECES * piece, TIMES * PIECES * piece)
            }
            grown(f"pieces of {piece / MIB:g} MiB", args, texts, piece, max(sizes))

        files = [size * PIECES * sizes[0] // FILE for size in (1, TIMES)]
        texts = {
            f"{number} files": write_files(endless, work / f"{number} files", number * FILE)
            for number in files
        }
        few, many = grown(f"files of {FILE // 1024} KiB", args, texts, sizes[0], max(sizes))
        each = 1024 * (many.first - few.first) / (files[1] - files[0])
        print(f"{'a file':<28}{'':>12}{each:8.2f} KiB first")
        if args.record:
            record("corpus memory, a file", "first process", each, "KiB", 1.0, torch.device("cpu"))

        whole = cycle([line for line in lines if line.strip()])  # no end of a document
        size = 2 * max(sizes)
        texts = {f"{size / MIB:g} MiB": write_file(whole, work / "whole", size)}
        grown(f"documents of {max(sizes) / MIB:g} MiB", args, texts, sizes[0], max(sizes))
    return 0


if __name__ == "__main__":
    sys.exit(main())
