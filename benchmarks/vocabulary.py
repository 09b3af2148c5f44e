"""Compares the memory of masked-LM logits distillation in chunks and for all tokens at once: GiB.

    python -m benchmarks.vocabulary [--tokens 2048] [--words 50265] [--width 768] [--chunk 256]

Measured  peak memory added by the losses of labels and teacher, forward and backward
Inputs    random states of N masked tokens, output matrices of student and teacher
Check     loss and gradients must agree, or nothing is printed
Method    each variant in its own process, on the CPU: largest resident set, minus that before
Output    one row per variant in benchmarks/results.csv, with ratio = memory / memory of ours
"""

import json
import subprocess
import sys
import time

import torch
from torch import Tensor, nn

from benchmarks.record import add_numbers, record
from fairseq_kd.losses import cross_entropy, in_chunks, kd
from fairseq_kd.memory import peak_memory
from launcher.arguments import Parser

OURS = "in chunks"
VARIANTS = (OURS, "at once")


def measure(tokens: int, words: int, width: int, chunk: int) -> dict[str, float]:
    """Return memory and time of one forward and backward pass in this process, with loss and gradient norm."""
    torch.manual_seed(1)
    student, teacher = nn.Linear(width, words), nn.Linear(width, words).requires_grad_(False)
    states = torch.randn(tokens, width, requires_grad=True)
    target = torch.randint(words, (tokens,))

    def terms(s: Tensor, t: Tensor, y: Tensor) -> Tensor:
        scores = student(s)
        return torch.stack([cross_entropy(scores, y), kd(scores, teacher(t), 2.0)])

    for parameter in student.parameters():
        parameter.grad = torch.zeros_like(parameter)
    states.grad = torch.zeros_like(states)
    before = peak_memory(states.device)
    start = time.perf_counter()
    loss = in_chunks(terms, (states, torch.randn(tokens, width), target), chunk).sum()
    loss.backward()
    return {
        "gib": peak_memory(states.device) - before,
        "seconds": time.perf_counter() - start,
        "loss": loss.item(),
        "gradient": states.grad.norm().item(),
    }


def check_equal(found: dict[str, dict[str, float]]) -> None:
    """Exit if the variants have different losses or gradients."""
    for key in ("loss", "gradient"):
        ours, theirs = (found[name][key] for name in VARIANTS)
        if abs(ours - theirs) > 1e-4 * abs(ours):
            raise SystemExit(f"{key} is {ours} in chunks and {theirs} at once: nothing to compare.")


def main() -> None:
    """Run the benchmark, or measure one variant with --alone."""
    parser = Parser(__doc__)
    add_numbers(
        parser,
        {
            "tokens": (2048, "masked tokens"),
            "words": (50265, "size of the vocabulary"),
            "width": (768, "width of both models"),
            "chunk": (256, "tokens per chunk"),
        },
    )
    parser.add_argument("--alone", action="store_true", help="print one variant as JSON (default: both)")
    args = parser.parse_args()
    if args.alone:
        print(json.dumps(measure(args.tokens, args.words, args.width, args.chunk)))
        return

    found = {}
    for name, chunk in zip(VARIANTS, (args.chunk, args.tokens), strict=True):
        sizes = [f"--{key}={getattr(args, key)}" for key in ("tokens", "words", "width")]
        command = [sys.executable, "-m", "benchmarks.vocabulary", "--alone", *sizes, f"--chunk={chunk}"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        found[name] = json.loads(done.stdout)
    check_equal(found)
    for name, values in found.items():
        ratio = values["gib"] / found[OURS]["gib"]
        print(f"{name:12} {values['gib']:6.2f} GiB  {ratio:5.2f} x ours  {values['seconds']:6.1f} s")
        record("vocabulary KD memory", name, values["gib"], "GiB", ratio, torch.device("cpu"))


if __name__ == "__main__":
    main()
