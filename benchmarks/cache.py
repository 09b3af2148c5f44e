"""Training with a live teacher against a teacher on disk: seconds an epoch, and bytes on disk.

    python -m benchmarks.cache [--pair 12x768:3x768] [--sentences 512] [--tokens 40] [--device cuda]

Timed   fairseq's own loop over the training set, validation and checkpoints apart: teacher, student, loss, update
Over    KD on labels and logits; HSK 1l_10t_0.1h; HSK with all hidden states. Random weights, large enough that the teacher
        tells sentences apart; sentences of random words, half to all of --tokens long; fp32, cached in fp16
Equal   before that, the loss of each training sentence alone, from the cache and live: within 2^-8, or nothing is timed;
        of HSK 1l_10t_0.1h, one sentence in 32 may differ, where rounding chose another of two like tokens
How     the cache is written before; an epoch to warm up, then --epochs timed: median
Writes  two rows a loss to benchmarks/results.csv, ratio is the time over the cached one, and one of MiB on disk
"""

import argparse
import logging
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import numpy as np
import torch

from benchmarks import synthetic
from benchmarks.record import describe, record
from scripts import cache_teacher

LOSSES = {
    "logits": ("kd", "--hard-weight", "0.5", "--soft-weight", "0.5"),
    "hsk 1l_10t_0.1h": ("hsk", "--hsk-keep", "1l_10t_0.1h", "--hard-weight", "0", "--soft-weight", "0"),
    "hsk full": ("hsk", "--hard-weight", "0", "--soft-weight", "0"),
}

# Weights of standard deviation GAIN / sqrt(inputs): each layer's sums are that large. New models' tell no sentences apart.
GAIN = 2.0
# fp16 rounds a number by up to 2^-11 of it, which may meet itself in the few numbers that a sentence's loss hangs on.
TOLERANCE = 2**-8
# Where the teacher's numbers choose tokens and dimensions, of two that are all but equal another batch, which rounds
# otherwise, may choose the other: in so many sentences of each.
CHOOSING, OTHERWISE = "hsk 1l_10t_0.1h", 1 / 32


@dataclass(frozen=True)
class Setting:
    """What is trained: layers x width of both models, and on how much."""

    teacher: tuple[int, int]
    student: tuple[int, int]
    sentences: int
    tokens: int
    batch_size: int

    def __str__(self) -> str:
        (a, b), (c, d) = self.teacher, self.student
        return f"{a}x{b} -> {c}x{d}, {self.sentences} sentences of up to {self.tokens} tokens"


def write_teacher(path: Path, setting: Setting) -> Path:
    """A checkpoint with random weights, large ones."""
    synthetic.write_teacher(path, *setting.teacher, setting.tokens)
    checkpoint = torch.load(path, weights_only=True)
    for weight in checkpoint["model"].values():
        if weight.dim() > 1:
            weight *= GAIN / (weight.size(1) ** 0.5 * weight.std())
    torch.save(checkpoint, path)
    return path


def flags(folder: Path, setting: Setting, loss: str, cpu: bool) -> list[str]:
    """Of the training, as fairseq-train takes them."""
    layers, width = setting.student
    own = (
        []
        if width == setting.teacher[1]
        else ["--encoder-embed-dim", str(width), "--encoder-ffn-embed-dim", str(4 * width)]
    )
    kept = ",".join(str(layer) for layer in range(layers))
    origin = ["--init-layers", "random", "--encoder-layers", str(layers)] if own else ["--init-layers", kept]
    return [
        *(str(folder / "data"), "--task", "sentence_prediction_kd", "--num-classes", "2"),
        *(
            "--teacher",
            str(folder / "model.pt"),
            "--criterion",
            *LOSSES[loss],
            "--arch",
            "roberta_student",
            *origin,
            *own,
        ),
        *(
            "--batch-size",
            str(setting.batch_size),
            "--dropout",
            "0",
            "--attention-dropout",
            "0",
            "--seed",
            "1",
        ),
        *("--optimizer", "adamw_fused", "--lr", "1e-5", "--num-workers", "0"),
        *(["--cpu"] if cpu else []),
    ]


@torch.no_grad()
def sentence_losses(given: Sequence[str], cpu: bool) -> np.ndarray:
    """The loss of each training sentence alone, [N], of the student as it begins."""
    from fairseq.utils import move_to_cuda

    from fairseq_kd.tasks.from_flags import build_parts, read_config

    task, student, criterion = build_parts(read_config(given))
    dataset = task.load_dataset("train", combine=True)
    if not cpu:
        student.cuda(), criterion.cuda()
    student.eval(), criterion.eval()
    samples = (dataset.collater([dataset[row]]) for row in range(len(dataset)))
    return np.array(
        [float(criterion(student, sample if cpu else move_to_cuda(sample))[0]) for sample in samples]
    )


def check_equal(loss: str, live: np.ndarray, cached: np.ndarray) -> None:
    """SystemExit where a sentence's loss is more than fp16 away from that with the live teacher.

    Where numbers choose, a few may be.
    """
    others = np.flatnonzero(~np.isclose(cached, live, rtol=TOLERANCE, atol=TOLERANCE * live.mean()))
    if len(others) > (OTHERWISE * len(live) if loss == CHOOSING else 0):
        row = others[0]
        raise SystemExit(
            f"{loss}: {len(others)} of {len(live)} sentences have another loss from the cache than live, the first of them "
            f"{cached[row]:.6g} and {live[row]:.6g}: nothing to compare."
        )


def train(given: Sequence[str], epochs: int) -> list[float]:
    """Runs fairseq's trainer for so many epochs; the seconds of each."""
    import fairseq_cli.train as command

    import fairseq_kd  # noqa: F401

    begin, began, seconds = command.train, [], []

    def timed(*args, **kwargs):
        _synchronize()
        began.append(time.perf_counter())
        return begin(*args, **kwargs)

    def end(cfg, trainer, task, epoch_itr, valid_subsets, end_of_epoch):
        if end_of_epoch:
            _synchronize()
            seconds.append(time.perf_counter() - began[-1])
        return [None], False

    argv = [
        "fairseq-train",
        *given,
        "--max-epoch",
        str(epochs),
        "--best-checkpoint-metric",
        "loss",
        "--no-progress-bar",
    ]
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
    """Seconds of an epoch and bytes on disk, live and cached; SystemExit where the two do not learn the same."""
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
    args = _parser().parse_args(arguments)
    if args.threads:
        torch.set_num_threads(args.threads)
    device = torch.device(args.device)
    logging.disable(logging.INFO)

    teacher, student = (tuple(map(int, side.split("x"))) for side in args.pair.split(":"))
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
                    f"{loss:16} {name:7} {seconds:8.2f} s an epoch  {seconds / ours:5.2f} x  {size / 2**20:9.2f} MiB on disk"
                )
                record(f"cache, {setting}", f"{loss}, {name}", seconds, "s an epoch", seconds / ours, device)
            record(f"cache, {setting}", f"{loss}, on disk", size / 2**20, "MiB", 1.0, device)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--pair", default="12x768:3x768", help="layers x width of teacher and student (default: 12x768:3x768)"
    )
    parser.add_argument("--sentences", type=int, default=512, help="of the training set (default: 512)")
    parser.add_argument("--tokens", type=int, default=40, help="of the longest sentence (default: 40)")
    parser.add_argument("--batch-size", type=int, default=32, help="sentences an update (default: 32)")
    parser.add_argument("--epochs", type=int, default=3, help="timed, after one to warm up (default: 3)")
    parser.add_argument(
        "--folder", help="where data and cache lie meanwhile (default: that of temporary files)"
    )
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default: cpu)")
    parser.add_argument("--threads", type=int, help="CPU threads (default: torch's own choice)")
    return parser


def _synchronize() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
