"""Fine-tunes a pre-trained model on a task: the teacher that students learn from.

    python scripts/finetune_teacher.py --data data/MRPC-bin --model models/minilm --out teachers/MRPC \\
        --epochs 3 --lr 5e-5 --cpu -- --num-workers 2

What follows `--` goes to fairseq-train. Writes OUT/checkpoint_best.pt, dict.txt, log.txt, command.txt and
result.json (dev scores, seconds, versions). An interrupted training goes on from where it was; a
finished one is left alone. Settings not given are those published for RoBERTa on that task, their
schedule scaled to the epochs, the batch size and the data at hand.
"""

import argparse
import json
import shutil
import signal
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from launcher import places, runner
from launcher.arguments import Parser, positive, rate, split
from launcher.command import environment, train_command
from launcher.flags import check_flags
from launcher.methods import NO_TEACHER
from launcher.places import Data
from launcher.spec import ONE, RunSpec
from launcher.tasks import PUBLISHED_EPOCHS, find_task
from launcher.train import Outcome, Trainings

FAILED, NOT_STARTED, INTERRUPTED = 1, 2, 130

# What to use instead of a flag of fairseq-train that is set here.
INSTEAD = {
    "--save-dir": "--out",
    "--init-from": "--model",
    "--max-epoch": "--epochs",
    "--max-sentences": "--batch-size",
    **{flag: flag for flag in ("--batch-size", "--lr", "--cpu", "--seed")},
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status: 0 the teacher is there, 1 training failed, 2 nothing was started, 130 interrupted."""
    own, flags = split(sys.argv[1:] if arguments is None else arguments)
    args = _parser().parse_args(own)
    try:
        check_flags(flags, INSTEAD)
        data = find_data(args.data)
        model = find_model(args.model)
        spec = describe(args, data, model, flags)
        places.check_writable(args.out, "--out")
        check_unused(args.out, spec)
        trainer = places.find_trainer(args.trainer)
    except ValueError as error:
        print(f"Cannot start: {error}.", file=sys.stderr)
        return NOT_STARTED

    gpu = None if args.cpu else next(iter(runner.visible_gpus()), None)
    command = train_command(spec, trainer, data, model, args.out, cpu=gpu is None)
    command[command.index("--save-dir") + 1] = str(args.out)
    return train(spec, command, data, args.out, gpu)


def find_data(folder: Path) -> Data:
    """The binarized data of one task; ValueError says what to give."""
    try:
        task = json.loads((folder / "meta.json").read_text("utf-8"))["task"]
    except FileNotFoundError:
        raise ValueError(
            f"--data {folder} has no meta.json: give a folder <TASK>-bin that `python -m preprocess.glue` made"
        ) from None
    except (KeyError, TypeError, ValueError):
        raise ValueError(f"--data {folder} has a meta.json that is not ours: make the data again") from None
    return places.find_data(folder, task)


def find_model(given: Path) -> Path:
    """The checkpoint to start from; ValueError says what to give."""
    try:
        return places.find_checkpoint(given, "--model")
    except ValueError as error:
        raise ValueError(
            f"{error}: give a fairseq RoBERTa checkpoint, or a folder that `scripts/convert_hf.py import` made"
        ) from None


def describe(args: argparse.Namespace, data: Data, model: Path, flags: Sequence[str]) -> RunSpec:
    """The training as a run of the launcher: every layer of the model, labels alone."""
    task = json.loads((data.folder / "meta.json").read_text("utf-8"))["task"]
    settings = find_task(task)
    batch_size = args.batch_size or settings.batch_size
    updates, warmup = settings.schedule(args.epochs, batch_size, data.sentences)
    return RunSpec(
        task=settings.name,
        method=NO_TEACHER,
        init="all",
        mapping="",
        stage=ONE,
        seed=args.seed,
        epochs=args.epochs,
        batch_size=batch_size,
        lr=args.lr or settings.lr,
        updates=updates,
        warmup=warmup,
        data=data.fingerprint,
        teacher=places.fingerprint(model),
        flags=tuple(flags),
    )


def check_unused(out: Path, spec: RunSpec) -> None:
    """Raises ValueError when `out` holds a training with other settings, finished or not.

    One that failed before its first checkpoint is none.
    """
    path = out / "spec.json"
    if not path.is_file() or not any([*out.glob("checkpoint*.pt"), *out.glob("result.json")]):
        return
    there, wanted = json.loads(path.read_text("utf-8")), json.loads(json.dumps(asdict(spec)))
    differing = [name for name in wanted if there.get(name) != wanted[name]]
    if differing:
        name = differing[0]
        raise ValueError(
            f"--out {out} holds a training with another {name.replace('_', ' ')} ({there.get(name)}, now "
            f"{wanted[name]}): name another folder, or remove that one"
        )


def train(spec: RunSpec, command: Sequence[str], data: Data, out: Path, gpu: str | None) -> int:
    """Trains, then puts the dictionary beside the checkpoint and says the dev scores."""
    print(
        f"{spec.task}: {spec.epochs} epochs, batch {spec.batch_size}, lr {spec.lr:g}, log in {out / 'log.txt'}",
        flush=True,
    )
    trainings = Trainings()
    outcomes: list[Outcome] = []

    def run(spec: RunSpec, gpu: str | None) -> Outcome:
        variables = environment(cpu=gpu is None, jobs=1, gpu=gpu)
        return trainings.run(spec, command, variables, data.metric)

    # Stopped by SIGTERM as by Ctrl-C: not without the training it started.
    before = signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        runner.run_all([spec], run, lambda _, outcome: outcomes.append(outcome), [gpu], trainings.stop)
    except KeyboardInterrupt:
        print("Interrupted: the same command goes on from here.", file=sys.stderr)
        return INTERRUPTED
    finally:
        signal.signal(signal.SIGTERM, before)

    [outcome] = outcomes
    if outcome.result is None:
        print(f"Training failed: {outcome.problem}", file=sys.stderr)
        return FAILED
    shutil.copyfile(data.folder / "input0" / "dict.txt", out / "dict.txt")
    print(in_words(outcome.result, out))
    return 0


def in_words(result: dict[str, Any], out: Path) -> str:
    """Every dev score at the best checkpoint, and what it took."""
    scores = [
        f"{name.replace('valid', 'dev')} {', '.join(f'{key} {value:.4g}' for key, value in metrics.items())}"
        for name, metrics in result["at_best"].items()
    ]
    return (
        f"{'; '.join(scores)} (best {result['metric']}, update {result['best_update']}; {result['seconds']:.0f} s)\n"
        f"Teacher: {out / 'checkpoint_best.pt'}"
    )


def _parser() -> Parser:
    parser = Parser(__doc__)
    parser.add_argument(
        "--data", type=Path, required=True, metavar="BIN", help="binarized data of one task, <TASK>-bin"
    )
    parser.add_argument(
        "--model",
        type=Path,
        required=True,
        metavar="PATH",
        help="pre-trained model: a checkpoint, or a folder with checkpoint_best.pt or model.pt",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the teacher")
    parser.add_argument(
        "--epochs",
        type=positive,
        default=PUBLISHED_EPOCHS,
        metavar="N",
        help=f"passes over the training data (default: {PUBLISHED_EPOCHS})",
    )
    parser.add_argument(
        "--batch-size", type=positive, metavar="N", help="sentences an update (default: published, 16 or 32)"
    )
    parser.add_argument(
        "--lr", type=rate, metavar="LR", help="highest learning rate (default: published, 1e-5 or 2e-5)"
    )
    parser.add_argument("--seed", type=positive, default=1, metavar="N", help="random seed (default: 1)")
    parser.add_argument(
        "--trainer", metavar="PROGRAM", help="the fairseq-train to call (default: the environment's)"
    )
    parser.add_argument("--cpu", action="store_true", help="use no GPU (default: the first one there is)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
