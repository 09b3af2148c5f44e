"""Measures the peak memory of preprocess.corpus for an input and one ten times as large: MiB.

    python -m benchmarks.corpus_memory --input wiki --encoder-dir gpt2_bpe --record

Measured  the largest resident set of the first process and of its workers, from the kernel (Linux)
Inputs    the lines of --input, repeated: 4 and 40 pieces of each size of --pieces in one file; the same amounts of the
          first size in files of 4 KiB; and documents as long as the longest piece
Method    each input in a new process, with --workers
Output    with --record, one row per variant in benchmarks/results.csv: the memory of the largest process, and its ratio
          to that with the smaller input; and the additional memory of the first process per file
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
from benchmarks.record import add_numbers, add_record_option, record

MIB = 1 << 20
PIECES, TIMES = 4, 10  # pieces of the smaller input; size of the larger one, relative to it
FILE = 4096  # bytes of each of many files

# A process's own ru_maxrss includes its parent's memory at the fork; VmHWM and the children's ru_maxrss do not.
CODE = """
import atexit, re, resource, runpy, sys
from pathlib import Path
from preprocess.corpus import plan_pieces as plan

def show():
    own = re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]
    print(own, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)

plan.SMALLEST, plan.LARGEST = int(sys.argv.pop(1)), int(sys.argv.pop(1))
atexit.register(show)
runpy.run_module("preprocess.corpus", run_name="__main__", alter_sys=True)
"""


@dataclass(frozen=True)
class Peak:
    """Peak memory in MiB: of the first process, and of the largest worker."""

    first: float
    worker: float


def measure(text: Path, encoder: Path, workers: int, piece: int, longest: int) -> Peak:
    """Return the peak of one call on `text`, with pieces of `piece` bytes and documents cut at `longest`."""
    command = [sys.executable, "-c", CODE, piece, longest, f"--input={text}=text", "--encoder-dir", encoder]
    with tempfile.TemporaryDirectory() as out:
        command += ["--out", f"{out}/data", "--valid-share", "0", "--workers", workers]
        done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"benchmarks.corpus_memory: preprocess.corpus failed:\n{done.stderr[-2000:]}")
    return Peak(*(int(kib) / 1024 for kib in done.stdout.split("\n")[-2].split()))


def write_file(lines: Iterator[bytes], out: Path, size: int) -> Path:
    """Write whole lines until the file has `size` bytes or more."""
    with out.open("wb") as file:
        while file.tell() < size:
            file.write(next(lines))
    return out


def write_files(lines: Iterator[bytes], out: Path, size: int) -> Path:
    """Write `size` bytes in files of FILE bytes."""
    out.mkdir()
    for number in range(size // FILE):
        write_file(lines, out / f"{number:06}", FILE)
    return out


def measure_all(
    name: str, args: argparse.Namespace, texts: dict[str, Path], piece: int, longest: int
) -> list[Peak]:
    """Measure, print and, with --record, record each text. texts: description of the size -> file."""
    peaks = []
    for size, text in texts.items():
        peak = measure(text, args.encoder_dir, args.workers, piece, longest)
        peaks.append(peak)
        ratio = max(peak.first, peak.worker) / max(peaks[0].first, peaks[0].worker)
        print(f"{name:<28}{size:>12}{peak.first:8.1f} MiB first{peak.worker:8.1f} MiB worker  {ratio:.2f} x")
        if args.record:
            what = f"corpus memory, {name}, {args.workers} workers"
            record(what, size, max(peak.first, peak.worker), "MiB", ratio, torch.device("cpu"))
    return peaks


def main() -> int:
    """Run the benchmark and return exit status 0."""
    parser = argparse.ArgumentParser(description="Peak memory of preprocess.corpus for growing inputs: MiB.")
    add_input_option(parser)
    parser.add_argument("--encoder-dir", type=Path, required=True, metavar="DIR", help="an encoder folder")
    add_numbers(parser, {"workers": (2, "encoding processes, 2 or more")})
    parser.add_argument(
        "--pieces",
        type=float,
        nargs="+",
        default=[1, 16],
        metavar="MIB",
        help="sizes of a piece in MiB; the largest is also the longest document (default: 1 16)",
    )
    add_record_option(parser)
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
            measure_all(f"pieces of {piece / MIB:g} MiB", args, texts, piece, max(sizes))

        files = [size * PIECES * sizes[0] // FILE for size in (1, TIMES)]
        texts = {
            f"{number} files": write_files(endless, work / f"{number} files", number * FILE)
            for number in files
        }
        few, many = measure_all(f"files of {FILE // 1024} KiB", args, texts, sizes[0], max(sizes))
        each = 1024 * (many.first - few.first) / (files[1] - files[0])
        print(f"{'a file':<28}{'':>12}{each:8.2f} KiB first")
        if args.record:
            record("corpus memory, a file", "first process", each, "KiB", 1.0, torch.device("cpu"))

        one_document = cycle(
            [line for line in lines if line.strip()]
        )  # no blank line, so no end of a document
        size = 2 * max(sizes)
        texts = {f"{size / MIB:g} MiB": write_file(one_document, work / "whole", size)}
        measure_all(f"documents of {max(sizes) / MIB:g} MiB", args, texts, sizes[0], max(sizes))
    return 0


if __name__ == "__main__":
    sys.exit(main())
