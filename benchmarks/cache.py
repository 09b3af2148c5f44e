"""Compares training with a live teacher and with a teacher cache: seconds per epoch, and bytes on disk.

    python -m benchmarks.cache [--pair 12x768:3x768] [--sentences 512] [--tokens 40] [--device cuda]

Timed   fairseq's training loop: teacher, student, loss, update; without validation and checkpoints
Inputs  KD on labels and logits; HSK 1l_10t_0.1h; HSK with all hidden states. Random weights, large enough for
        different signals of different sentences. Sentences of random words, half to all of --tokens long. fp32,
        cached in fp16
Check   first, each training sentence's loss from the cache must equal the live one within 2^-8, or nothing is timed.
        With HSK 1l_10t_0.1h, one sentence in 32 may differ, because rounding can select another of two similar tokens
Method  the cache is written first; one epoch to warm up, then the median of --epochs
Output  per loss, two rows in benchmarks/results.csv, with ratio = time / time with the cache, and one of MiB on disk
"""

import logging
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch

from benchmarks import synthetic
from benchmarks.record import add_device_options, add_numbers, describe, record, synchronize
from launcher.arguments import Parser
from scripts import cache_teacher

LOSSES = {
    "logits": ("kd", "--hard-weight", "0.5", "--soft-weight", "0.5"),
    "hsk 1l_10t_0.1h": ("hsk", "--hsk-keep", "1l_10t_0.1h", "--hard-weight", "0", "--soft-weight", "0"),
    "hsk full": ("hsk", "--hard-weight", "0", "--soft-weight", "0"),
}

# The standard deviation of weights is GAIN / sqrt(inputs). With the weights of new models, all sentences are similar.
GAIN = 2.0
# fp16 has relative rounding errors of up to 2^-11, which can add up in the few values of a sentence's loss.
TOLERANCE = 2**-8
# The loss that selects tokens and dimensions by the teacher's values. Rounding differs between batches, so of two nearly
# equal values either can be selected. The share of sentences in which this is allowed:
SELECTING_LOSS, DIFFERENT_SHARE = "hsk 1l_10t_0.1h", 1 / 32


@dataclass(frozen=True)
class Setting:
    """Sizes of a benchmark: (layers, width) of both models, and the training data."""

    teacher: tuple[int, int]
    student: tuple[int, int]
    sentences: int
    tokens: int
    batch_size: int

    def __str__(self) -> str:
        (a, b), (c, d) = self.teacher, self.student
        return f"{a}x{b} -> {c}x{d}, {self.sentences} sentences of up to {self.tokens} tokens"


def write_teacher(path: Path, setting: Setting) -> Path:
    """Write a checkpoint with large random weights."""
    synthetic.write_teacher(path, *setting.teacher, setting.tokens)
    checkpoint = torch.load(path, weights_only=True)
    for weight in checkpoint["model"].values():
        if weight.dim() > 1:
            weight *= GAIN / (weight.size(1) ** 0.5 * weight.std())
    torch.save(checkpoint, path)
    return path


def flags(folder: Path, setting: Setting, loss: str, cpu: bool) -> list[str]:
    """Return the arguments of fairseq-train."""
    layers, width = setting.student
    if width == setting.teacher[1]:
        student = ["--init-layers", ",".join(map(str, range(layers)))]
    else:
        student = [
            "--init-layers",
            "random",
            "--encoder-layers",
            str(layers),
            "--encoder-embed-dim",
            str(width),
        ]
        student += ["--encoder-ffn-embed-dim", str(4 * width)]
    given = f"--task sentence_prediction_kd --num-classes 2 --batch-size {setting.batch_size} --seed 1 "
    given += "--arch roberta_student --dropout 0 --attention-dropout 0 --optimizer adamw_fused --lr 1e-5 --num-workers 0"
    teacher = ["--teacher", str(folder / "model.pt"), "--criterion", *LOSSES[loss]]
    return [str(folder / "data"), *given.split(), *teacher, *student, *(["--cpu"] if cpu else [])]


@torch.no_grad()
def sentence_losses(given: Sequence[str], cpu: bool) -> np.ndarray:
    """Return the untrained student's loss of each training sentence alone, [N]."""
    from fairseq.utils import move_to_cuda

    from fairseq_kd.tasks.build import build_parts, read_config

    task, student, criterion = build_parts(read_config(given))
    dataset = task.load_dataset("train", combine=True)
    if not cpu:
        student.cuda(), criterion.cuda()
    student.eval(), criterion.eval()
    samples = (dataset.collater([dataset[row]]) for row in range(len(dataset)))
    moved = samples if cpu else map(move_to_cuda, samples)
    return np.array([float(criterion(student, sample)[0]) for sample in moved])


def check_equal(loss: str, live: np.ndarray, cached: np.ndarray) -> None:
    """Exit if losses from the cache differ from live ones by more than TOLERANCE.

    A small share of sentences may differ with SELECTING_LOSS.
    """
    different = np.flatnonzero(~np.isclose(cached, live, rtol=TOLERANCE, atol=TOLERANCE * live.mean()))
    if len(different) > (DIFFERENT_SHARE * len(live) if loss == SELECTING_LOSS else 0):
        row = different[0]
        raise SystemExit(
            f"{loss}: {len(different)} of {len(live)} sentences have another loss from the cache than live (the first: "
            f"{cached[row]:.6g} and {live[row]:.6g}): nothing to compare."
        )


def train(given: Sequence[str], epochs: int) -> list[float]:
    """Run fairseq's trainer for `epochs` epochs; return the seconds of each."""
    import fairseq_cli.train as command

    import fairseq_kd  # noqa: F401

    begin, began, seconds = command.train, [], []

    def timed(*args: Any, **kwargs: Any) -> Any:
        synchronize()
        began.append(time.perf_counter())
        return begin(*args, **kwargs)

    def end(
        cfg: Any, trainer: Any, task: Any, epoch_itr: Any, valid_subsets: Any, end_of_epoch: bool
    ) -> tuple[list[None], bool]:
        if end_of_epoch:
            synchronize()
            seconds.append(time.perf_counter() - began[-1])
        return [None], False

    argv = ["fairseq-train", *given, "--max-epoch", str(epochs), "--no-progress-bar"]
    argv += ["--best-checkpoint-metric", "loss"]
    with (
        tempfile.TemporaryDirectory() as save_dir,
        mock.patch.object(sys, "argv", [*argv, "--save-dir", save_dir]),
        mock.patch.object(command, "train", timed),
        mock.patch.object(command, "validate_and_save", end),
    ):
        command.cli_main()
    return seconds


def measure(
    folder: Path, setting: Setting, loss: str, epochs: int, cpu: bool
) -> dict[str, tuple[float, int]]:
    """Return variant -> (seconds per epoch, bytes on disk). Exits if the losses of both variants differ."""
    given = flags(folder, setting, loss, cpu)
    cache = folder / "cache" / loss.replace(" ", "_")
    cached = [*given, "--teacher-cache", str(cache)]
    cache_teacher.main(["--", *cached])
    size = sum(path.stat().st_size for path in (cache / "train").iterdir())
    check_equal(loss, sentence_losses(given, cpu), sentence_losses(cached, cpu))

    rounds = {"live": train(given, 1 + epochs), "cached": train(cached, 1 + epochs)}
    return {
        name: (statistics.median(seconds[1:]), size if name == "cached" else 0)
        for name, seconds in rounds.items()
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    args = _parser().parse_args(arguments)
    if args.threads:
        torch.set_num_threads(args.threads)
    device = args.device
    logging.disable(logging.INFO)

    sides = [side.split("x") for side in args.pair.split(":")]
    teacher, student = [(int(layers), int(width)) for layers, width in sides]
    setting = Setting(teacher, student, args.sentences, args.tokens, args.batch_size)
    print(f"{setting}; {describe(device)}")
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        synthetic.write_sentences(Path(folder) / "data", setting.sentences, setting.tokens)
        write_teacher(Path(folder) / "model.pt", setting)
        for loss in LOSSES:
            measured = measure(Path(folder), setting, loss, args.epochs, device.type == "cpu")
            ours, _ = measured["cached"]
            for name, (seconds, size) in measured.items():
                print(
                    f"{loss:16} {name:7} {seconds:8.2f} s/epoch  {seconds / ours:5.2f} x  {size / 2**20:9.2f} MiB on disk"
                )
                record(f"cache, {setting}", f"{loss}, {name}", seconds, "s an epoch", seconds / ours, device)
            record(f"cache, {setting}", f"{loss}, on disk", size / 2**20, "MiB", 1.0, device)


def _parser() -> Parser:
    parser = Parser(__doc__)
    parser.add_argument(
        "--pair", default="12x768:3x768", help="layers x width of both models (default: 12x768:3x768)"
    )
    add_numbers(
        parser,
        {
            "sentences": (512, "training sentences"),
            "tokens": (40, "tokens of the longest sentence"),
            "batch-size": (32, "sentences per update"),
            "epochs": (3, "timed epochs, after one to warm up"),
        },
    )
    parser.add_argument("--folder", help="folder of temporary data and caches (default: the system's)")
    add_device_options(parser)
    return parser


if __name__ == "__main__":
    main()
