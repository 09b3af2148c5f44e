"""Compares students with their teacher: scores, agreement, size, speed and memory, measured on this machine.

    python scripts/compare.py teachers/sst2 runs/sst2 runs/other --data data --out comparison

Prints a table and, for each student, a sentence on its gain. With --out, writes comparison.md, comparison.csv and
comparison.png. Speed is measured on sentences of the first split, in random batches of 1 and of 32: all models compute
the same batch in turns, so that other load on the machine affects all alike. Memory is that of weights and the longest
batch of 32, in a process per model.
"""

import argparse
import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from launcher.arguments import Parser, positive
from launcher.files import check_writable
from launcher.report import plots
from scripts.evaluate import write_csv
from scripts.options import add_data_option, add_inference_options, add_split_option

if TYPE_CHECKING:
    from fairseq_kd.evaluation.cost import Size, Timing
    from fairseq_kd.evaluation.loaded_model import LoadedModel

BATCH = 32
MB = 1e6
SIZE = (5.6, 3.6)  # inches of the plot


@dataclass(frozen=True)
class Compared:
    """The measured values of a model.

    single, batched  time of a batch of 1 and of BATCH sentences
    memory           peak bytes; None if unknown
    scores           split -> metric -> value in percent
    agreement        with the teacher, in percent: equal classes, or Pearson correlation (regression)
    """

    name: str
    shape: str
    precision: str
    size: "Size"
    single: "Timing"
    batched: "Timing"
    memory: int | None
    scores: dict[str, dict[str, float]]
    agreement: float

    @property
    def throughput(self) -> float:
        """Sentences per second in batches of BATCH."""
        return 1000 * BATCH / self.batched.median


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare all models and return exit status 0. Errors exit with a message."""
    parser = _parser()
    args = parser.parse_args(arguments)
    if args.out is not None and not plots.available():
        parser.error("--out draws a plot with matplotlib, which is not installed: pip install matplotlib")
    try:
        if args.out is not None:
            check_writable(args.out, "--out")
    except ValueError as error:
        parser.error(str(error))

    # Imported here because it takes seconds, and --help and invalid flags should be fast.
    import torch

    from fairseq_kd.evaluation.loaded_model import LoadedModel, device
    from fairseq_kd.models.checkpoint import read_checkpoint

    if args.threads:
        torch.set_num_threads(args.threads)
    given = [(args.teacher, "TEACHER"), *((path, "STUDENT") for path in args.student)]
    models = [LoadedModel.of(read_checkpoint(path, name), args.data) for path, name in given]
    splits = _splits(models, args.split)
    found = compare(models, splits, args)
    metric = models[0].metadata.metric or next(iter(found[0].scores[splits[0]]))
    on = (
        torch.cuda.get_device_name()
        if device(args.cpu).type == "cuda"
        else f"CPU, {torch.get_num_threads()} thread(s)"
    )
    text = (
        table(found, splits, on)
        + "\n\n"
        + "\n".join(gain(found[0], each, splits[0], metric) for each in found[1:])
    )
    print(text)
    if args.out is not None:
        write(args.out, found, splits, metric, text)
    return 0


def _splits(models: Sequence["LoadedModel"], asked: Sequence[str] | None) -> list[str]:
    """Return the splits to score; by default all with labels but the training set. Raises CannotStart."""
    from fairseq_kd.errors import CannotStart
    from fairseq_kd.evaluation.loaded_model import labelled_splits

    first = models[0]
    for model in models[1:]:
        if model.data != first.data:
            raise CannotStart(
                f"STUDENT {model.checkpoint.path} is for {model.data}, but the teacher is for {first.data}: compare models "
                "of one task, and give its folder with --data.",
                doing="compare",
            )
    [labelled] = labelled_splits(models[:1], asked)
    splits = [split for split in labelled if asked or split.startswith(("valid", "test"))]
    if not splits:
        raise CannotStart(
            f"--data {first.data} has no dev or test set with labels: make it with one.", doing="compare"
        )
    return splits


def compare(
    models: Sequence["LoadedModel"], splits: Sequence[str], args: argparse.Namespace
) -> list[Compared]:
    """Return the measured values of all models; the first is the teacher."""
    from fairseq_kd.evaluation.cost import peak_memory_of, size_of, time_in_turns
    from fairseq_kd.evaluation.inference import precision_of
    from fairseq_kd.evaluation.loaded_model import device
    from fairseq_kd.evaluation.scores import agreement, scores
    from scripts.model_card import model_names

    short, long = zip(*(model_names(model.checkpoint.path) for model in models), strict=True)
    names = short if len(set(short)) == len(models) else long
    built = [model.inference(device(args.cpu)) for model in models]
    datasets = [model.dataset(splits[0]) for model in models]
    single = time_in_turns(built, datasets, 1, args.rounds)
    batched = time_in_turns(built, datasets, BATCH, args.rounds)
    predicted = [dict(model.predict(splits, device(args.cpu), args.batch_size)) for model in models]
    return [
        Compared(
            names[number],
            str(model.checkpoint.shape),
            precision_of(model.checkpoint),
            size_of(built[number]),
            single[number],
            batched[number],
            peak_memory_of(model.checkpoint.path, model.data, splits[0], BATCH, args.cpu),
            {split: scores(predicted[number][split]) for split in splits},
            agreement(predicted[0][splits[0]], predicted[number][splits[0]]),
        )
        for number, model in enumerate(models)
    ]


def rows(found: Sequence[Compared], splits: Sequence[str]) -> list[tuple[str, list[str]]]:
    """Return the title of each row of the table, and its cell for each model."""
    teacher = found[0]
    cells = [
        ("model", [each.name for each in found]),
        ("shape", [each.shape for each in found]),
        ("precision, as trained", [each.precision for each in found]),
        ("parameters", [f"{each.size.parameters / 1e6:.1f} M" for each in found]),
        (
            "without embeddings",
            [f"{(each.size.parameters - each.size.embeddings) / 1e6:.1f} M" for each in found],
        ),
        ("weights", [f"{each.size.bytes / MB:.0f} MB" for each in found]),
        ("batch of 1, ms", [_milliseconds(each.single) for each in found]),
        (f"batch of {BATCH}, ms", [_milliseconds(each.batched) for each in found]),
        (f"sentences/s, batches of {BATCH}", [f"{each.throughput:.0f}" for each in found]),
        ("speed", [f"{each.throughput / teacher.throughput:.2f}x" for each in found]),
        ("peak memory", ["-" if each.memory is None else f"{each.memory / MB:.0f} MB" for each in found]),
    ]
    for split in splits:
        for metric in teacher.scores[split]:
            cells.append((f"{metric}, {split}", [f"{each.scores[split][metric]:.2f}" for each in found]))
    return [*cells, (f"agreement, {splits[0]}", [f"{each.agreement:.2f}" for each in found])]


def _milliseconds(timing: "Timing") -> str:
    return f"{timing.median:.1f} [{timing.low:.1f}, {timing.high:.1f}]"


def table(found: Sequence[Compared], splits: Sequence[str], on: str) -> str:
    """Return the Markdown table with a column for each model; the first is the teacher."""
    lines = [f"| {' | '.join([title, *cells])} |" for title, cells in rows(found, splits)]
    lines.insert(1, f"|{'---|' * (1 + len(found))}")
    lines += ["", f"Times: median [quartiles] of batches of different sentences, on {on}."]
    return "\n".join([*lines, f"Agreement: with {found[0].name}, in percent."])


def gain(teacher: Compared, student: Compared, split: str, metric: str) -> str:
    """Return a sentence: the student's size, speed and score relative to the teacher's."""
    difference = student.scores[split][metric] - teacher.scores[split][metric]
    points = f"{abs(difference):.2f} points {'below' if difference < 0 else 'above'}"
    return (
        f"{student.name}: {teacher.size.parameters / student.size.parameters:.1f}x fewer parameters, "
        f"{student.throughput / teacher.throughput:.1f}x the sentences per second, {metric} {points} {teacher.name} "
        f"on {split}."
    )


def write(folder: Path, found: Sequence[Compared], splits: Sequence[str], metric: str, text: str) -> None:
    """Write comparison.md, comparison.csv and comparison.png, each atomically."""
    from fairseq_kd.evaluation.output_file import atomic_write

    with atomic_write(folder / "comparison.md") as file:
        file.write(f"{text}\n".encode())
    records = [_record(each, splits) for each in found]
    write_csv(folder / "comparison.csv", list(records[0]), records)
    draw(found, splits[0], metric, folder / "comparison.png")


def _record(each: Compared, splits: Sequence[str]) -> dict[str, Any]:
    record: dict[str, Any] = {"model": each.name, "shape": each.shape, "precision": each.precision}
    record |= {name: getattr(each.size, name) for name in ("parameters", "embeddings", "bytes")}
    for batch, timing in ((1, each.single), (BATCH, each.batched)):
        record |= {f"ms_batch_{batch}{end}": getattr(timing, name) for end, name in TIMES.items()}
    record |= {"sentences_per_second": each.throughput, "peak_bytes": each.memory}
    record |= {f"{split}_{metric}": value for split in splits for metric, value in each.scores[split].items()}
    return record | {f"{splits[0]}_agreement": each.agreement}


TIMES = {"": "median", "_quartile_1": "low", "_quartile_3": "high"}


def draw(found: Sequence[Compared], split: str, metric: str, path: Path) -> None:
    """Draw score against throughput; the area of a mark is proportional to the parameters."""
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams["font.size"] = 9
        from matplotlib.figure import Figure

        figure = Figure(figsize=SIZE, layout="constrained")
        axes = figure.subplots()
        largest = max(each.size.parameters for each in found)
        for number, each in enumerate(found):
            x, y = each.throughput, each.scores[split][metric]
            colour = "#000000" if number == 0 else plots.STYLES[(number - 1) % len(plots.STYLES)][0]
            axes.scatter(x, y, 400 * each.size.parameters / largest, color=colour, alpha=0.6, linewidths=0)
            label = f"{each.name}, {each.size.parameters / 1e6:.1f} M"
            axes.annotate(label, (x, y), (0, 12), textcoords="offset points", ha="center")
        axes.margins(0.25)
        axes.set_xlabel(f"sentences per second, batches of {BATCH}")
        axes.set_ylabel(f"{metric}, {split}")
        axes.grid(alpha=0.3)
        plots.save(figure, path)


def _parser() -> Parser:
    parser = Parser(__doc__)
    model = "checkpoint, or a folder with checkpoint_best.pt or model.pt"
    parser.add_argument("teacher", metavar="TEACHER", help=model)
    parser.add_argument("student", nargs="+", metavar="STUDENT", help=f"{model}; several are compared")
    add_data_option(parser)
    add_split_option(parser, "all dev and test sets with labels")
    parser.add_argument(
        "--rounds",
        type=positive,
        default=30,
        metavar="N",
        help="measured batches of each size (default: 30 batches)",
    )
    parser.add_argument(
        "--threads", type=positive, metavar="N", help="CPU threads (default: torch's, all cores)"
    )
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="folder for table, CSV and plot (default: none)"
    )
    add_inference_options(parser)
    return parser


if __name__ == "__main__":
    logging.disable(logging.INFO)  # fairseq logs every opened file
    sys.exit(main())
