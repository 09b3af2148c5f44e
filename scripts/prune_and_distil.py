"""Prunes a model little by little, and lets it learn from its teacher after each step (ROSITA's schedule).

    python scripts/prune_and_distil.py --teacher teachers/MRPC --data data/MRPC-bin --out students/MRPC \\
        --layers 6 --heads 2 --ffn 768 --rank 128 --steps 3 --cpu -- --temperature 4

The teacher itself is pruned first, then what was trained in the step before. In each step: importance
(scripts/score_importance.py), pruning (scripts/prune.py), then fairseq-train with --init-from the
pruned model, --init-head and --criterion METHOD. What follows `--` goes to fairseq-train.

Writes OUT/1, OUT/2, ..: pruned/model.pt, and what a run leaves (checkpoint_best.pt, result.json,
predictions/, ..); the last is the student. Interrupted, the same command goes on from where it was.
"""

import json
import logging
import shutil
import sys
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from launcher import places
from launcher.arguments import Parser, add_training_options, positive, split
from launcher.flags import check_flags
from launcher.job import Job, make_job
from launcher.overrides import as_flags
from launcher.pruning import ORDERS, TOGETHER, Size, schedule
from launcher.single import run_alone
from launcher.slots import Slot, visible_gpus
from launcher.teachers import teacher_spec
from scripts import prune as prune_once
from scripts import score_importance
from scripts.finetune_teacher import FAILED, INTERRUPTED, NOT_STARTED, dev_scores, find_data

# What to use instead of a flag of fairseq-train that is set here.
INSTEAD = {
    "--save-dir": "--out",
    "--init-from": "--teacher",
    "--max-epoch": "--epochs",
    "--max-sentences": "--batch-size",
    "--criterion": "--method",
    **{flag: flag for flag in ("--batch-size", "--lr", "--cpu", "--seed", "--data", "--teacher")},
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status: 0 the student is there, 1 a step failed, 2 nothing was started, 130 interrupted."""
    own, words = split(sys.argv[1:] if arguments is None else arguments)
    args = _parser().parse_args(own)
    try:
        flags = as_flags(words)
        check_flags(flags, INSTEAD)
        task, data = find_data(args.data)
        teacher = places.find_checkpoint(args.teacher, "--teacher")
        places.check_writable(args.out, "--out")
        trainer = places.find_trainer(args.trainer)
        sizes = plan(args, teacher)
        check_unused(
            args.out, {"sizes": [vars(size) for size in sizes], "teacher": places.fingerprint(teacher)}
        )
    except ValueError as error:
        print(f"Cannot start: {error}.", file=sys.stderr)
        return NOT_STARTED

    gpu = None if args.cpu else next(iter(visible_gpus()), None)
    slot, large = Slot(gpu), teacher
    for number, size in enumerate(sizes, start=1):
        print(f"Step {number} of {len(sizes)}: {size}", flush=True)
        folder = args.out / str(number)
        model = folder / "pruned" / "model.pt"
        if not model.is_file():
            prune(large, data.folder, size, folder, gpu is None)
        spec = teacher_spec(task, data, teacher, args.epochs, args.batch_size, args.lr, args.seed, flags)
        spec = replace(
            spec, method=args.method, flags=("--init-head", *flags), start=places.fingerprint(model)
        )
        job = make_job(spec, folder, data, trainer, gpu is None, start=model, teacher=teacher)
        status = train(job, slot)
        if status:
            return status
        large = folder / "checkpoint_best.pt"
    print(f"Student: {large}")
    return 0


def plan(args: Namespace, teacher: Path) -> list[Size]:
    """The sizes of all steps; ValueError where there is nothing to prune."""
    from fairseq_kd.models.checkpoint import read_checkpoint
    from fairseq_kd.models.pruning import Sizes

    shape = read_checkpoint(str(teacher), "--teacher").shape
    there = vars(Sizes.of(shape))
    wanted = Sizes(**{name: getattr(args, name) or size for name, size in there.items()})
    for problem in wanted.problems(shape):
        raise ValueError(problem.rstrip("."))
    sizes = schedule(Size(**there), Size(**vars(wanted)), args.steps, args.order)
    if not sizes:
        raise ValueError("nothing is to be pruned: give --layers, --heads, --ffn or --rank")
    return sizes


def check_unused(out: Path, wanted: dict) -> None:
    """Raises ValueError where `out` holds the steps of another schedule or teacher; writes down these."""
    path = out / "schedule.json"
    if path.is_file() and json.loads(path.read_text("utf-8")) != wanted:
        raise ValueError(f"--out {out} holds the steps of another schedule or teacher: name another folder")
    out.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(wanted, indent=1), "utf-8")


def prune(large: Path, data: Path, size: Size, folder: Path, cpu: bool) -> None:
    """Makes FOLDER/pruned/model.pt of `large`; what prevents that ends the program with a sentence."""
    scores = folder / "importance.safetensors"
    of, on = ["--checkpoint", str(large)], ["--cpu"] if cpu else []
    score_importance.main([*of, "--data", str(data), "--out", str(scores), *on])

    shutil.rmtree(folder / "pruned", ignore_errors=True)  # what an interrupted call left there
    flags = [text for name, value in vars(size).items() for text in (f"--{name}", str(value))]
    prune_once.main([*of, "--importance", str(scores), *flags, "--out", str(folder / "pruned")])
    scores.unlink()  # as large as the model


def train(job: Job, slot: Slot) -> int:
    """Trains one step's student and says its dev scores; the exit status, 0 where it is there."""
    try:
        outcome = run_alone(job, slot)
    except KeyboardInterrupt:
        print("Interrupted: the same command goes on from here.", file=sys.stderr)
        return INTERRUPTED
    if outcome.result is None:
        print(f"Training {'skipped' if outcome.skipped else 'failed'}: {outcome.problem}", file=sys.stderr)
        return FAILED
    print("  " + "; ".join(dev_scores(*each) for each in outcome.result["at_best"].items()), flush=True)
    return 0


def _parser() -> Parser:
    parser = Parser(__doc__)
    parser.add_argument(
        "--teacher",
        type=Path,
        required=True,
        metavar="PATH",
        help="a fine-tuned model, which is pruned and taught by: a checkpoint, or a folder that holds one",
    )
    parser.add_argument(
        "--data", type=Path, required=True, metavar="BIN", help="binarized data of one task, <TASK>-bin"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of all steps")
    for name, what in (
        ("layers", "first layers that stay"),
        ("heads", "attention heads of each that stay"),
        ("ffn", "feed-forward neurons of each that stay"),
        ("rank", "dimensions of the word embeddings"),
    ):
        parser.add_argument(f"--{name}", type=positive, metavar="N", help=f"{what} in the end (default: all)")
    parser.add_argument(
        "--steps", type=positive, default=1, metavar="N", help="in how many steps (default: 1, all at once)"
    )
    parser.add_argument(
        "--order",
        choices=ORDERS,
        default=TOGETHER,
        help="everything a little in each step; or so many steps in width (heads, ffn, rank), then in depth, or the "
        f"other way round (default: {TOGETHER})",
    )
    parser.add_argument(
        "--method", default="kd", metavar="NAME", help="--criterion of each step's training (default: kd)"
    )
    add_training_options(parser, " in each step")
    return parser


if __name__ == "__main__":
    logging.disable(logging.INFO)
    sys.exit(main())
