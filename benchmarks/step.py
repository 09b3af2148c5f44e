"""Compares one training step with the same step in transformers, TextBrewer and stock fairseq, in turns, in one run.

    python -m benchmarks.step --data data/MRPC-bin [--models 12x768:3x768] [--methods kd,att_kl_learn] [--record]
    python -m benchmarks.step --tokens 512 --models 12x768:3x768 --precision bf16 --device cuda

A step    teacher and student forward, loss, backward, update by fused AdamW; ours through fairseq's trainer
Models    random weights of the given sizes, the vocabulary of the data, RoBERTa's form; dropout 0.1 as usual
Compiled  the student's layers by torch.compile. On a CPU this is slower, because our own code for CPUs cannot be compiled
Batches   the same random sentences for all variants. `transformers` pads to the longest sentence of a batch, and uses
          torch's fused attention if the loss needs no scores. `padded` variants pad to 128 tokens, or to --tokens
Products  the matrix products that no library can avoid: linear layers of the real tokens, and attention of each
          sentence, forward and backward
Check     before anything is timed, the loss of each variant without dropout must be ours, to four digits (three with a
          teacher cache, which is in fp16). TextBrewer takes other means over heads and tokens: its loss is not checked
Time      each variant in a process of its own, with one thread; processor time, because other jobs on the machine increase
          wall-clock time (on a GPU, wall-clock time). One round to warm up, then the median of --rounds rounds
Memory    peak of a step, above the memory before it
Precision fp32 without TF32; tf32, fp32 with TF32 products, on a GPU; bf16, autocast, with a teacher in bf16
"""

import argparse
import importlib.util
import logging
import statistics
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks import synthetic
from benchmarks.ours import Ours, Setting, write_teacher
from benchmarks.peers import EagerTransformers, StockFairseq, TextBrewer, Transformers
from benchmarks.plain_losses import METHODS
from benchmarks.products import Products
from benchmarks.record import RESULTS, add_numbers, describe, record
from benchmarks.variant_process import VariantProcess
from fairseq_kd.models.checkpoint import read_checkpoint
from launcher.arguments import Parser, names
from launcher.methods import NO_TEACHER, find_methods

OURS, CACHED, COMPILED, PRODUCTS = "ours", "ours, teacher cache", "ours, compiled", "matrix products"
TEXTBREWER = "TextBrewer, padded"
PEERS: dict[str, Callable[..., Any]] = {
    "transformers": Transformers,
    "transformers, padded": EagerTransformers,
    TEXTBREWER: TextBrewer,
    "stock fairseq": StockFairseq,
}
PACKAGES = {"transformers": "transformers", "transformers, padded": "transformers", TEXTBREWER: "textbrewer"}
EVERY = [OURS, CACHED, COMPILED, *PEERS, PRODUCTS]
PADDED_TO = 128
WORDS = 50260  # with special symbols, RoBERTa's 50,265
# Largest relative difference of a loss from ours.
TOLERANCE, TOLERANCE_OF_CACHE = 1e-4, 1e-3


class Variant:
    """One way to make a step; lives in a process of its own."""

    def __init__(
        self, name: str, setting: Setting, teacher: Path, folder: Path, args: argparse.Namespace
    ) -> None:
        logging.disable(logging.WARNING)
        torch.set_num_threads(args.threads)
        torch.set_float32_matmul_precision("high" if args.precision == "tf32" else "highest")
        cache = ["--teacher-cache", str(folder / setting.method)] if name == CACHED else []
        ours = Ours(setting, teacher, cache)
        if name == COMPILED:
            ours.compile_layers()
        rows = torch.randperm(len(ours.dataset), generator=torch.Generator().manual_seed(1)).tolist()
        size = args.batch_size
        starts = range(0, args.batches * size, size)
        self.trained: Any = ours
        if name in PEERS:
            padded = {"padded_to": args.tokens or PADDED_TO} if "padded" in name else {}
            self.trained = PEERS[name](ours, read_checkpoint(str(teacher), "--teacher"), **padded)
        if name == CACHED:  # missing rows are written first
            for start in starts:
                ours.loss(ours.batch(rows[start : start + size], args.tokens))
        self.batches = [ours.batch(rows[start : start + size], args.tokens) for start in starts]
        if name == PRODUCTS:
            self.trained = Products(setting, self.batches)

    def loss(self) -> float:
        """Return the loss of the first batch without dropout."""
        return float(self.trained.loss(self.batches[0]))

    def round(self) -> None:
        """Make a step with each batch."""
        for batch in self.batches:
            self.trained.step(batch)

    def size(self) -> tuple[int, int]:
        """Return the numbers of sentences and of real tokens of a round."""
        return sum(b["nsentences"] for b in self.batches), sum(b["ntokens"] for b in self.batches)


def installed(names: list[str]) -> list[str]:
    """Return the variants whose packages are installed; print the others."""
    found = []
    for name in names:
        package = PACKAGES.get(name)
        if package is None or importlib.util.find_spec(package):
            found.append(name)
        else:
            print(f"Left out: {name}. The package {package} is not installed.\n")
    return found


def variants_of(method: str, asked: list[str]) -> list[str]:
    """Return the asked variants that can train the method."""
    if method not in METHODS:
        return [name for name in asked if name not in PEERS]
    limits = {TEXTBREWER: TextBrewer.supports, "stock fairseq": StockFairseq.supports}
    return [name for name in asked if name not in limits or limits[name](method)]


def check_equal(name: str, expected: float, found: float) -> None:
    """Exit if the loss of a variant differs from ours."""
    tolerance = TOLERANCE_OF_CACHE if name == CACHED else TOLERANCE
    if abs(found - expected) > tolerance * abs(expected):
        raise SystemExit(f"{name} has the loss {found:.6g}, ours is {expected:.6g}: nothing to compare.")


def measure(setting: Setting, teacher: Path, folder: Path, args: argparse.Namespace) -> None:
    """Print and record a row for each variant."""
    running = {}
    for name in variants_of(setting.method, args.variants):
        running[name] = VariantProcess(partial(Variant, name, setting, teacher, folder, args), setting.device)
        if name not in (OURS, TEXTBREWER, PRODUCTS) and args.precision == "fp32":
            check_equal(name, running[OURS].call("loss"), running[name].call("loss"))
    sentences, tokens = running[OURS].call("size")

    seconds: dict[str, list[float]] = {name: [] for name in running}
    for _ in range(args.rounds + 1):
        for name, variant in running.items():
            seconds[name].append(variant.time("round"))
    medians = {name: statistics.median(each[1:]) for name, each in seconds.items()}
    memory = {name: variant.peak_memory("round") / 2**20 for name, variant in running.items()}
    for variant in running.values():
        variant.stop()

    for name, median in medians.items():
        of_products = f"{median / medians[PRODUCTS]:.2f}" if PRODUCTS in medians else ""
        print(
            f"| {setting.method} | {name} | {sentences / median:.1f} | {tokens / median:.0f} | {of_products} "
            f"| {median / medians[OURS]:.2f} | {memory[name]:.0f} |",
            flush=True,
        )
        if args.record:
            given = f"{title(setting, args)}", f"{setting.method}, {name}"
            speed, saved = medians[OURS] / median, memory[name] / memory[OURS]
            record(*given, sentences / median, "sentences/s", speed, setting.device, args.record)
            record(*given, memory[name], "MiB", saved, setting.device, args.record)


def title(setting: Setting, args: argparse.Namespace) -> str:
    """Return the name of the benchmark in results.csv."""
    (a, b), (c, d) = setting.teacher, setting.student
    tokens = f"{args.tokens} tokens" if args.tokens else "real lengths"
    sizes = f"{a}x{b} -> {c}x{d}, {args.precision}, {args.batch_size} sentences of {tokens}"
    return f"step, {setting.data.name}, {sizes}"


def main() -> None:
    """Run the benchmark."""
    parser = _parser()
    args = parser.parse_args()
    if args.precision == "tf32" and args.device.type != "cuda":
        parser.error("--precision tf32 needs a GPU: give --device cuda.")
    torch.set_num_threads(args.threads)
    args.variants = installed(list(dict.fromkeys([OURS, *args.variants])))
    teacher_size, student_size = args.models
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        data = args.data or synthetic.write_sentences(
            folder / "random-words", args.batches * args.batch_size, args.tokens or PADDED_TO, WORDS
        )
        autocast = "bf16" if args.precision == "bf16" else "fp32"
        for number, method in enumerate(args.methods):
            setting = Setting(data, teacher_size, student_size, method, autocast, args.device)
            teacher = write_teacher(folder / "model.pt", setting, max(512, args.tokens or 0))
            if number == 0:
                print(f"{title(setting, args)}; {describe(args.device)}\n")
                print(
                    "| method | variant | sentences/s | real tokens/s | time / products | time / ours | MiB |"
                )
                print(f"|{7 * '---|'}", flush=True)
            measure(setting, teacher, folder, args)


def _parser() -> Parser:
    parser = Parser(__doc__)
    parser.add_argument(
        "--data",
        type=Path,
        help="a <TASK>-bin folder (default: sentences of random words, half of --tokens or 128 to all of it)",
    )
    parser.add_argument(
        "--models", type=_sizes, default="6x384:3x384", help="teacher and student (default: 6x384:3x384)"
    )
    every = [name for name in find_methods() if name != NO_TEACHER]
    parser.add_argument(
        "--methods", type=names, default=every, help="criterions, comma-separated (default: all)"
    )
    parser.add_argument(
        "--variants",
        type=_variants,
        default=[name for name in EVERY if name not in (CACHED, COMPILED)],
        help=f"separated by semicolons, from {'; '.join(EVERY)} (default: all but the cache and compiled)",
    )
    parser.add_argument(
        "--tokens", type=int, help="extend each sentence to this length (default: real lengths)"
    )
    parser.add_argument(
        "--precision", choices=("fp32", "tf32", "bf16"), default="fp32", help="(default: fp32)"
    )
    parser.add_argument("--device", type=torch.device, default="cpu", help="cpu or cuda (default: cpu)")
    numbers = {"batch-size": (32, "sentences per batch"), "batches": (2, "batches per round")}
    numbers |= {"rounds": (5, "measured rounds"), "threads": (1, "CPU threads")}
    add_numbers(parser, numbers)
    parser.add_argument(
        "--record",
        type=Path,
        nargs="?",
        const=RESULTS,
        metavar="FILE",
        help="append to a CSV file, without FILE to results.csv (default: print only)",
    )
    return parser


def _sizes(text: str) -> tuple[tuple[int, int], tuple[int, int]]:
    """Parse --models: layers x width of teacher and student."""
    try:
        (a, b), (c, d) = (map(int, side.split("x")) for side in text.split(":"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form 6x384:3x384") from None
    return (a, b), (c, d)


def _variants(text: str) -> list[str]:
    found = [name.strip() for name in text.split(";")]
    for name in found:
        if name not in EVERY:
            raise argparse.ArgumentTypeError(f"{name!r} is no variant")
    return found


if __name__ == "__main__":
    main()
