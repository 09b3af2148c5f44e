"""Evaluates trained models on every split with labels and prints all metrics as a Markdown table.

    python scripts/evaluate.py --checkpoint runs teachers/SST-2 --data data --csv scores.csv

For a run directory, evaluates all its checkpoints; for a folder of runs, the best checkpoint of each. In
folders, first stages are skipped, because their classifier is not trained. Metrics are in percent.
"""

import argparse
import csv
import io
import logging
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from launcher.arguments import Parser
from scripts.options import add_data_option, add_inference_options, add_split_option

if TYPE_CHECKING:
    from fairseq_kd.evaluation.loaded_model import LoadedModel

METRICS = ("accuracy", "f1", "macro_f1", "mcc", "pearson", "spearman")


def main(arguments: Sequence[str] | None = None) -> int:
    """Evaluate all models and return exit status 0. Errors exit with a message."""
    args = _parser().parse_args(arguments)
    models = read_models(args.checkpoint, args.data)
    from fairseq_kd.evaluation.loaded_model import labelled_splits

    chosen = labelled_splits(models, args.split)

    logged = {name for model in models for name in model.metrics()}
    columns = ["checkpoint", "task", "split", "sentences", *(name for name in METRICS if name in logged)]
    print(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}", flush=True)
    rows = []
    for row in evaluate(models, chosen, args):
        rows.append(row)
        # Print row by row, because a row can take minutes.
        print(f"| {' | '.join(_cell(row.get(name, '-')) for name in columns)} |", flush=True)
    if args.csv is not None:
        write_csv(args.csv, columns, rows)
    return 0


def read_models(given: Sequence[str], data: Path) -> list["LoadedModel"]:
    """Return all models with their data. Raises CannotStart if there is none."""
    # Imported here because it takes seconds, and --help and invalid flags should be fast.
    from fairseq_kd.errors import CannotStart
    from fairseq_kd.evaluation.loaded_model import LoadedModel, first_stage
    from fairseq_kd.models.checkpoint import read_checkpoint

    models = []
    for name in given:
        for path in find_checkpoints(name):
            checkpoint = read_checkpoint(str(path), "--checkpoint")
            if first_stage(checkpoint) and not Path(name).is_file():
                print(f"{path} is a first stage, without a trained classifier: skipped.", file=sys.stderr)
                continue
            models.append(LoadedModel.of(checkpoint, data))
    if not models:
        raise CannotStart(f"--checkpoint {' '.join(given)} has only first stages: give second stages.")
    return models


def find_checkpoints(given: str) -> list[Path]:
    """Return the file itself, all checkpoints of a run directory, or the best checkpoint of each run in a folder.

    Raises CannotStart if there is no checkpoint.
    """
    from fairseq_kd.errors import CannotStart
    from fairseq_kd.models.checkpoint import NAMES_IN_FOLDER

    path = Path(given)
    if path.is_file():
        return [path]

    of_run = sorted(path.glob("*.pt"))
    found = of_run or sorted(best for name in NAMES_IN_FOLDER for best in path.rglob(name))
    if not found:
        raise CannotStart(
            f"--checkpoint {given} {'has no checkpoint' if path.is_dir() else 'does not exist'}: give a checkpoint, "
            "a run directory, or a folder of runs."
        )
    return found


def evaluate(
    models: Sequence["LoadedModel"], chosen: Sequence[Sequence[str]], args: argparse.Namespace
) -> Iterator[dict]:
    """Yield a row for each model and split."""
    from fairseq_kd.evaluation.loaded_model import device
    from fairseq_kd.evaluation.scores import scores

    for model, splits in zip(models, chosen, strict=True):
        row = {"checkpoint": str(model.checkpoint.path), "task": model.metadata.task}
        for split, predictions in model.predict(splits, device(args.cpu), args.batch_size):
            yield {**row, "split": split, "sentences": len(predictions.logits), **scores(predictions)}


def write_csv(path: Path, columns: Sequence[str], rows: Sequence[dict]) -> None:
    """Write the rows as CSV, with all digits."""
    from fairseq_kd.evaluation.output_file import atomic_write

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
        help="checkpoint, run directory, or folder of runs",
    )
    add_data_option(parser)
    add_split_option(parser, "all splits with labels")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="also write a CSV file (default: none)")
    add_inference_options(parser)
    return parser


if __name__ == "__main__":
    logging.disable(logging.INFO)  # fairseq logs every opened file
    sys.exit(main())
