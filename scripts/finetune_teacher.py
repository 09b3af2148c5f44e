"""Fine-tunes a pre-trained model on a task, as a teacher.

    python scripts/finetune_teacher.py --data data/MRPC-bin --model models/minilm --out teachers/MRPC \\
        --epochs 3 --lr 5e-5 --cpu -- --num-workers 2

Arguments after `--` are passed to fairseq-train, as flags or hydra overrides (dataset.num_workers=2). Writes
OUT/checkpoint_best.pt, dict.txt, log.txt, command.txt, result.json (dev scores, seconds, versions) and
predictions/. The same command resumes an interrupted training; a finished training is not repeated.
Defaults are the settings published for RoBERTa on that task, with the schedule scaled to the epochs, the
batch size and the data.
"""

import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from launcher import datasets
from launcher.arguments import Parser, split
from launcher.datasets import Data, task_name
from launcher.execution.scheduler import run_alone, say_interrupted
from launcher.execution.slots import Slot, visible_gpus
from launcher.files import check_writable
from launcher.models import find_checkpoint
from launcher.overrides import check_overrides, merge_overrides, read_overrides
from launcher.planning.job import Job, teacher_spec
from launcher.planning.prerequisites import NotReady
from launcher.planning.run_spec import RunSpec, other_setting
from launcher.plugin import find_trainer
from launcher.results.logs import following, updates_done
from launcher.results.runs import print_problem
from launcher.validate import check_flags
from scripts.options import add_training_options

FAILED, NOT_STARTED = 1, 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Train the teacher and return the exit status.

    0 success, 1 training or predictions failed, 2 not started, 130 interrupted
    """
    own, words = split(sys.argv[1:] if arguments is None else arguments)
    args = _parser().parse_args(own)
    try:
        overrides = merge_overrides({}, read_overrides(words))
        check_overrides(overrides, {"--init-from": "--model"})
        task, data = find_data(args.data)
        model = find_checkpoint(args.model, "--model")
        spec = teacher_spec(task, data, model, args.epochs, args.batch_size, args.lr, args.seed, overrides)
        check_writable(args.out, "--out")
        check_unused(args.out, spec)
        trainer = find_trainer(args.trainer)
        gpu = None if args.cpu else next(iter(visible_gpus()), None)
        job = Job(spec, args.out, data, trainer, cpu=gpu is None, start=model, is_teacher=True)
        check_flags([job])
    except NotReady as error:
        print(error, file=sys.stderr)
        return NOT_STARTED
    except ValueError as error:
        print(f"Cannot start: {error}.", file=sys.stderr)
        return NOT_STARTED
    except KeyboardInterrupt:
        return say_interrupted()
    return train(job, Slot(gpu))


def find_data(folder: Path) -> tuple[str, Data]:
    """Return the task and its binarized data. Raises ValueError if the data is missing or invalid."""
    try:
        task = json.loads((folder / "meta.json").read_text("utf-8"))["task"]
    except FileNotFoundError:
        raise ValueError(
            f"--data {folder} has no meta.json: give a folder <TASK>-bin of `python -m preprocess.glue` or "
            "`python -m preprocess.custom`"
        ) from None
    except (KeyError, TypeError, ValueError):
        raise ValueError(f"--data {folder} has an invalid meta.json: make the data again") from None
    name = task_name(task)
    return name, datasets.find_data(folder, name)


def check_unused(out: Path, spec: RunSpec) -> None:
    """Raise ValueError if `out` has a training with other settings, finished or not.

    A training that failed before its first checkpoint does not count.
    """
    path = out / "spec.json"
    if not path.is_file() or not any([*out.glob("checkpoint*.pt"), *out.glob("result.json")]):
        return
    there = RunSpec.from_json(json.loads(path.read_text("utf-8")))
    if other := other_setting(there.to_json(), spec.to_json()):
        raise ValueError(f"--out {out} has a training with {other}: name another folder, or remove this one")


def train(job: Job, slot: Slot) -> int:
    """Train, print the dev scores of each validation and of the best checkpoint, and return the exit status."""
    spec, out = job.spec, job.folder
    epochs = "1 epoch" if spec.epochs == 1 else f"{spec.epochs} epochs"
    print(
        f"{spec.task}: {epochs}, batch {spec.batch_size}, lr {spec.lr:g}, log in {out / 'log.txt'}",
        flush=True,
    )
    began, resumed = time.monotonic(), updates_done(out / "log.txt")

    def report(update: int, subset: str, metrics: dict[str, float]) -> None:
        seconds = time.monotonic() - began
        left = seconds * (job.updates - update) / max(1, update - resumed)
        after = f"  update {update} of {job.updates}, {seconds:.0f} s, {left:.0f} s left"
        print(f"{after}: {dev_scores(subset, metrics)}", flush=True)

    try:
        with following(out / "log.txt", report):
            outcome = run_alone(job, slot)
    except KeyboardInterrupt:
        return say_interrupted()

    print_problem(outcome)
    if outcome.result is not None:
        print(format_result(outcome.result, out))
    return 0 if outcome.well else FAILED


def format_result(result: Mapping[str, Any], out: Path) -> str:
    """Return all dev scores of the best checkpoint, its update and the training time, as text."""
    scores = [dev_scores(*split) for split in result["at_best"].items()]
    return (
        f"{'; '.join(scores)} (best {result['metric']}, update {result['best_update']}; {result['seconds']:.0f} s)\n"
        f"Teacher: {out / 'checkpoint_best.pt'}"
    )


def dev_scores(subset: str, metrics: dict[str, float]) -> str:
    """Return text such as `dev loss 0.43, accuracy 81.2`."""
    return f"{subset.replace('valid', 'dev')} {', '.join(f'{key} {value:.4g}' for key, value in metrics.items())}"


def _parser() -> Parser:
    parser = Parser(__doc__)
    parser.add_argument(
        "--model",
        type=Path,
        required=True,
        metavar="PATH",
        help="pre-trained model: a checkpoint, or a folder with checkpoint_best.pt or model.pt",
    )
    add_training_options(parser, "folder of the teacher")
    return parser


if __name__ == "__main__":
    sys.exit(main())
