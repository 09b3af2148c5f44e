"""Compares the cost of each method with plain KD: CPU time of training steps.

    python -m benchmarks.methods --data data/SST-2-bin --teacher teachers/SST-2 [--methods kd,crd] [--record]

Measured  teacher and student forward, loss and backward; without optimizer and data loading
Inputs    the same --batches random batches of --batch-size sentences for all methods; the student has every second layer
Method    one thread; one round to warm up, then the median of --rounds rounds, each with all methods in turn. CPU time,
          because other jobs on the machine increase wall-clock time
Output    one row per method; with --record also in benchmarks/results.csv, with ratio = time / time of kd
"""

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial

import torch
from torch import nn

from benchmarks.record import add_numbers, add_record_option, record
from launcher.arguments import Parser
from launcher.methods import NO_TEACHER, find_methods

BASELINE = "kd"


def build(method: str, args: argparse.Namespace) -> Callable[[], float]:
    """Build task, student and criterion as fairseq-train does; return a function that runs one round of steps."""
    import fairseq_kd  # noqa: F401
    from fairseq_kd.tasks.build import build_parts, read_config

    given = [args.data, "--task", "sentence_prediction_kd", "--cpu"]
    given += ["--teacher", args.teacher, "--arch", "roberta_student", "--init-layers", args.init_layers]
    given += ["--criterion", method, "--optimizer", "adamw_fused", "--seed", 1]
    task, student, criterion = build_parts(read_config([str(word) for word in given]))
    student.train()
    criterion.train()
    if getattr(criterion, "sda", None) is not None:
        # As after a first update: before it, there are no earlier parameters to average.
        criterion.sda.push(dict(student.named_parameters()))
    task.load_dataset("train")
    dataset = task.dataset("train")
    chosen = torch.randperm(len(dataset), generator=torch.Generator().manual_seed(1)).tolist()
    size = args.batch_size
    batches = [
        dataset.collater([dataset[index] for index in chosen[start : start + size]])
        for start in range(0, args.batches * size, size)
    ]
    return partial(_steps, student, criterion, batches)


def _steps(student: nn.Module, criterion: nn.Module, batches: list[dict]) -> float:
    """Return milliseconds per step."""
    start = time.process_time()
    for sample in batches:
        student.zero_grad()
        criterion.zero_grad()
        loss, _, _ = criterion(student, sample)
        loss.backward()
    return 1000 * (time.process_time() - start) / len(batches)


def measure(rounds: dict[str, Callable[[], float]], count: int) -> dict[str, float]:
    """Return method -> median milliseconds per step over `count` rounds, after one that is not counted."""
    found: dict[str, list[float]] = {name: [] for name in rounds}
    for _ in range(count + 1):
        for name, steps in rounds.items():
            found[name].append(steps())
    return {name: statistics.median(times[1:]) for name, times in found.items()}


def main() -> None:
    """Run the benchmark."""
    parser = Parser(__doc__)
    parser.add_argument("--data", required=True, help="a <TASK>-bin folder")
    parser.add_argument("--teacher", required=True, help="a teacher of that task")
    parser.add_argument("--methods", help="criterions, comma-separated; kd is always included (default: all)")
    parser.add_argument(
        "--init-layers", default="1,3,5", help="teacher layers of the student (default: 1,3,5)"
    )
    numbers = {"batch-size": (32, "sentences per batch"), "batches": (4, "batches per round")}
    add_numbers(parser, numbers | {"rounds": (5, "measured rounds")})
    add_record_option(parser)
    args = parser.parse_args()
    torch.set_num_threads(1)

    asked = args.methods.split(",") if args.methods else find_methods()
    methods = dict.fromkeys([BASELINE, *(name for name in asked if name != NO_TEACHER)])
    found = measure({name: build(name, args) for name in methods}, args.rounds)
    print("| method | ms per step | time / kd |\n|---|---|---|")
    for name, milliseconds in found.items():
        ratio = milliseconds / found[BASELINE]
        print(f"| {name} | {milliseconds:.0f} | {ratio:.2f} |")
        if args.record:
            record("cost of a method", name, milliseconds, "ms", ratio, torch.device("cpu"))


if __name__ == "__main__":
    main()
