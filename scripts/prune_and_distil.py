"""Prunes a model in several steps and distils it from its teacher after each step (ROSITA's schedule).

    python scripts/prune_and_distil.py --teacher teachers/MRPC --data data/MRPC-bin --out students/MRPC \\
        --layers 6 --heads 2 --ffn 768 --rank 128 --steps 3 --cpu -- --temperature 4

The first step prunes the teacher; each later step prunes the student of the step before. A step computes the
importance (scripts/score_importance.py), prunes (scripts/prune.py) and runs fairseq-train with --init-from the
pruned model, --init-head and --criterion METHOD. Arguments after `--` are passed to fairseq-train.

Writes OUT/schedule.json, the settings of all steps, and OUT/1, OUT/2, ..: pruned/model.pt and the files of a run
(checkpoint_best.pt, result.json, predictions/, ..). The last one is the final student. The same command resumes
after an interruption; other settings need another folder.
"""

import contextlib
import logging
import shutil
import sys
from argparse import Namespace
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from launcher.arguments import Parser, positive, split
from launcher.datasets import Data
from launcher.execution.command import train_command
from launcher.execution.scheduler import interruptible, run_alone, say_interrupted
from launcher.execution.slots import Slot, visible_gpus
from launcher.files import check_writable, take_lock
from launcher.methods import check_methods, find_methods
from launcher.models import BEST, file_fingerprint, find_checkpoint
from launcher.overrides import Overrides, check_overrides, merge_overrides, read_overrides
from launcher.planning.job import Job, teacher_spec
from launcher.planning.run_spec import RunSpec
from launcher.plugin import find_trainer
from launcher.results.runs import Outcome, print_problem
from scripts import prune as prune_once
from scripts import score_importance
from scripts.finetune_teacher import FAILED, NOT_STARTED, dev_scores, find_data
from scripts.options import add_size_options, add_training_options
from scripts.pruning_steps import ORDERS, PRUNED, TOGETHER, claim, schedule

if TYPE_CHECKING:
    from fairseq_kd.models.pruning import Sizes


@dataclass(frozen=True)
class Training:
    """Settings that are equal for the trainings of all steps."""

    spec: RunSpec
    data: Data
    teacher: Path
    asks_teacher: bool
    trainer: str
    cpu: bool

    def job(self, folder: Path, start: str = "") -> Job:
        """Return the training of a step's pruned model; `start` is the model's fingerprint."""
        spec, model = replace(self.spec, start=start), folder / PRUNED
        teacher = self.teacher if self.asks_teacher else None
        return Job(spec, folder, self.data, self.trainer, self.cpu, start=model, teacher=teacher)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run all steps and return the exit status: 0 success, 1 a step failed, 2 not started, 130 interrupted."""
    own, words = split(sys.argv[1:] if arguments is None else arguments)
    args = _parser().parse_args(own)
    gpu = None if args.cpu else next(iter(visible_gpus()), None)
    with contextlib.ExitStack() as held:
        try:
            training = find_training(args, merge_overrides({}, read_overrides(words)), gpu is None)
            sizes = plan(args, training)
            held.enter_context(locked(args.out))
            claim(args.out, sizes, training.spec)
        except ValueError as error:
            print(f"Cannot start: {error}.", file=sys.stderr)
            return NOT_STARTED

        try:
            with interruptible():
                return take_steps(sizes, training, args.out, Slot(gpu))
        except KeyboardInterrupt:
            return say_interrupted()


@contextlib.contextmanager
def locked(out: Path) -> Iterator[None]:
    """Lock the folder of all steps, because calls overwrite its models. Raises ValueError if another call has the lock."""
    out.mkdir(parents=True, exist_ok=True)
    with open(out / "lock", "w") as file:
        if not take_lock(file):
            raise ValueError(
                f"--out {out} is in use by another call of this command: wait for it, or name another folder"
            )
        yield


def find_training(args: Namespace, overrides: Overrides, cpu: bool) -> Training:
    """Return the common training settings. Raises ValueError if flags or files are invalid or missing."""
    check_overrides(overrides, {"--init-from": "--teacher", "--teacher": "--teacher"})
    methods = find_methods(args.trainer)
    check_methods([args.method], methods)
    task, data = find_data(args.data)
    teacher = find_checkpoint(args.teacher, "--teacher")
    spec = teacher_spec(task, data, teacher, args.epochs, args.batch_size, args.lr, args.seed, overrides)
    spec = replace(spec, method=args.method, overrides={"--init-head": True, **overrides})
    check_writable(args.out, "--out")
    asked = methods[args.method].needs_teacher
    return Training(spec, data, teacher, asked, find_trainer(args.trainer), cpu)


def plan(args: Namespace, training: Training) -> list["Sizes"]:
    """Return the sizes of all steps. Raises ValueError if nothing is pruned, or if such a student cannot be trained."""
    from fairseq_kd.errors import CannotStart
    from fairseq_kd.models.checkpoint import read_checkpoint
    from fairseq_kd.models.pruning import Sizes
    from fairseq_kd.tasks.build import config_errors, read_config

    try:
        shape = read_checkpoint(str(training.teacher), "--teacher").shape
        current = Sizes.of(shape)
        wanted = current.override(vars(args))
        for message in wanted.errors(shape):
            raise CannotStart(message)
        sizes = schedule(current, wanted, args.steps, args.order)

        config = read_config(train_command(training.job(args.out))[1:])
        for size in sizes:
            for message in config_errors(config, size.pruned_shape(shape)):
                raise CannotStart(f"a student of {size} cannot be trained: {message}")
    except CannotStart as error:
        raise ValueError(" ".join(error.errors).rstrip(".")) from None
    return sizes


def take_steps(sizes: Sequence["Sizes"], training: Training, out: Path, slot: Slot) -> int:
    """Run all steps, skipping finished parts, and return the exit status."""
    large, status = training.teacher, 0
    for number, size in enumerate(sizes, start=1):
        print(f"Step {number} of {len(sizes)}: {size}", flush=True)
        folder = out / str(number)
        if not (folder / PRUNED).is_file():
            prune(large, training, size, folder)
        outcome = train(training.job(folder, file_fingerprint(folder / PRUNED)), slot)
        if outcome.result is None:
            return FAILED
        status = status if outcome.well else FAILED  # the next step does not need the predictions
        large = folder / BEST
    print(f"Student: {large}")
    return status


def prune(large: Path, training: Training, size: "Sizes", folder: Path) -> None:
    """Prune `large` to FOLDER/pruned/model.pt. Errors exit with a message."""
    scores, pruned = folder / "importance.safetensors", (folder / PRUNED).parent
    of, on = ["--checkpoint", str(large)], ["--data", str(training.data.folder)]
    how = ["--seed", str(training.spec.seed), *(["--cpu"] if training.cpu else [])]
    score_importance.main([*of, *on, *how, "--out", str(scores)])

    shutil.rmtree(pruned, ignore_errors=True)  # files of an interrupted call
    flags = [text for name, value in vars(size).items() for text in (f"--{name}", str(value))]
    prune_once.main([*of, "--importance", str(scores), *flags, "--out", str(pruned)])
    scores.unlink()  # as large as the model


def train(job: Job, slot: Slot) -> Outcome:
    """Train the student of a step and print its dev scores or the error."""
    outcome = run_alone(job, slot)
    print_problem(outcome)
    if outcome.result is not None:
        print("  " + "; ".join(dev_scores(*each) for each in outcome.result["at_best"].items()), flush=True)
    return outcome


def _parser() -> Parser:
    parser = Parser(__doc__)
    parser.add_argument(
        "--teacher",
        type=Path,
        required=True,
        metavar="PATH",
        help="fine-tuned model to prune, and teacher of each step: a checkpoint, or a folder that has one",
    )
    add_size_options(parser, " in the end")
    parser.add_argument("--steps", type=positive, default=1, metavar="N", help="number of steps (default: 1)")
    parser.add_argument(
        "--order",
        choices=ORDERS,
        default=TOGETHER,
        help="prune all sizes in each step, or N steps in width (heads, ffn, rank) and then N in depth, or the "
        f"other way round (default: {TOGETHER})",
    )
    parser.add_argument(
        "--method",
        default="kd",
        metavar="NAME",
        help="--criterion of each step's training, or none: labels only (default: kd)",
    )
    add_training_options(parser, "folder of all steps", " in each step")
    return parser


if __name__ == "__main__":
    logging.disable(logging.INFO)
    sys.exit(main())
