"""Every metric of finished models, on every split that has labels: a table, in Markdown.

    python scripts/evaluate.py --checkpoint runs teachers/SST-2 --data data --csv scores.csv

Of a run's folder all checkpoints are evaluated, of a folder above runs the best one of each. First
stages, which have no classifier yet, are passed over in folders. Metrics are in percent.
"""

import argparse
import csv
import io
import logging
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from launcher.arguments import Parser, names
from scripts.options import add_inference_options

METRICS = ("accuracy", "f1", "mcc", "pearson", "spearman")


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status: 0 all is evaluated; what prevents that ends the program with a sentence."""
    args = _parser().parse_args(arguments)
    models = read_models(args.checkpoint, args.data)
    chosen = [choose_splits(model, args.split) for model in models]
    check_splits(models, chosen, args)

    logged = {name for model in models for name in model.metrics()}
    columns = ["checkpoint", "task", "split", "sentences", *(name for name in METRICS if name in logged)]
    print(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}", flush=True)
    rows = []
    for row in evaluate(models, chosen, args):
        rows.append(row)
        # Row by row: on large training sets the next one can take minutes.
        print(f"| {' | '.join(_cell(row.get(name, '-')) for name in columns)} |", flush=True)
    if args.csv is not None:
        write_csv(args.csv, columns, rows)
    return 0


def read_models(given: Sequence[str], data: Path) -> list:
    """All models that are meant, each beside its data."""
    # Here, because it takes seconds, and --help and a wrong flag should not.
    from fairseq_kd.errors import CannotStart
    from fairseq_kd.evaluation.finished import FinishedModel, first_stage
    from fairseq_kd.evaluation.found import find_checkpoints
    from fairseq_kd.models.checkpoint import read_checkpoint

    models = []
    for name in given:
        for path in find_checkpoints(name):
            checkpoint = read_checkpoint(str(path), "--checkpoint")
            if first_stage(checkpoint) and not Path(name).is_file():
                print(f"{path} is a first stage, without a trained classifier: passed over.", file=sys.stderr)
                continue
            models.append(FinishedModel.of(checkpoint, data))
    if not models:
        raise CannotStart(f"--checkpoint {' '.join(given)} holds first stages alone: give second stages.")
    return models


def choose_splits(model, asked: Sequence[str] | None) -> list[str]:
    """Those of the splits asked for that this model's data has; by default all with labels."""
    present = [split for split in model.splits() if asked is None or split in asked]
    return [split for split in present if asked is not None or model.dataset(split).targets is not None]


def check_splits(models: Sequence, chosen: Sequence[Sequence[str]], args: argparse.Namespace) -> None:
    """Raises CannotStart when a split is in no data at all or has no labels, or there is none to evaluate on."""
    from fairseq_kd.errors import CannotStart

    found = {split for splits in chosen for split in splits}
    for split in args.split or ():
        if split not in found:
            raise CannotStart(
                f"--split {split} is in no data that --data {args.data} names: take one of its splits."
            )
    if not found:
        raise CannotStart(f"--data {args.data} has no split with labels: make it with a dev set.")

    for model, splits in zip(models, chosen, strict=True):
        for split in splits:
            if model.dataset(split).targets is None:
                raise CannotStart(
                    f"--split {split} has no labels in {model.data}: scripts/predict.py writes its logits."
                )


def evaluate(models: Sequence, chosen: Sequence[Sequence[str]], args: argparse.Namespace) -> Iterator[dict]:
    """A row for each model and split; what is the same model as one before it takes the scores of that one."""
    from fairseq_kd.evaluation.finished import FinishedModel, device
    from fairseq_kd.evaluation.scores import scores

    asked: list[tuple[FinishedModel, list[dict]]] = []
    for model, splits in zip(models, chosen, strict=True):
        path = str(model.checkpoint.path)
        there = next((rows for earlier, rows in asked if model.answers_as(earlier)), [])
        if there:
            source = there[0]["checkpoint"]
            print(f"{path} has the weights of {source}: its scores are taken from there.", file=sys.stderr)
            yield from ({**row, "checkpoint": path} for row in there)
            continue

        rows: list[dict] = []
        asked.append((model, rows))
        for split, predictions in model.predict(splits, device(args.cpu), args.batch_size):
            row = {"checkpoint": path, "task": model.metadata.task, "split": split}
            rows.append({**row, "sentences": len(predictions.logits), **scores(predictions)})
            yield rows[-1]


def write_csv(path: Path, columns: Sequence[str], rows: Sequence[dict]) -> None:
    """The same rows for programs, with all digits."""
    from fairseq_kd.evaluation.files import atomic_write

    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    with atomic_write(path) as file:
        file.write(text.getvalue().encode())


def _cell(value: object) -> str:
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def _parser() -> Parser:
    parser = Parser(__doc__)
    parser.add_argument(
        "--checkpoint",
        nargs="+",
        required=True,
        metavar="PATH",
        help="a checkpoint, the folder of a run, or a folder of runs",
    )
    parser.add_argument(
        "--data",
        type=Path,
        required=True,
        metavar="DIR",
        help="binarized data, <TASK>-bin, or the folder above, where each checkpoint finds that of its own task",
    )
    parser.add_argument(
        "--split",
        type=names,
        metavar="LIST",
        help="comma-separated, such as train,valid,valid1 (default: every split that has labels)",
    )
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write the table there, too (default: none)")
    add_inference_options(parser)
    return parser


if __name__ == "__main__":
    logging.disable(logging.INFO)  # fairseq tells of every file it opens
    sys.exit(main())
