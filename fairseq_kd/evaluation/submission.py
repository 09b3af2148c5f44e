"""Files for GLUE's server (gluebenchmark.com): one a test set, `index<TAB>prediction`, zipped together."""

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..data.metadata import Metadata
from ..errors import CannotStart
from .files import atomic_write
from .finished import ANSWERS_AX, FinishedModel
from .predictions import Predictions

ARCHIVE = "submission.zip"


@dataclass(frozen=True)
class GlueFile:
    """The file for the predictions of a test split, and how many rows GLUE expects in it."""

    name: str
    rows: int


GLUE_FILES = {
    ("CoLA", "test"): GlueFile("CoLA.tsv", 1_063),
    ("SST-2", "test"): GlueFile("SST-2.tsv", 1_821),
    ("MRPC", "test"): GlueFile("MRPC.tsv", 1_725),
    ("STS-B", "test"): GlueFile("STS-B.tsv", 1_379),
    ("QQP", "test"): GlueFile("QQP.tsv", 390_965),
    ("MNLI", "test"): GlueFile("MNLI-m.tsv", 9_796),
    ("MNLI", "test1"): GlueFile("MNLI-mm.tsv", 9_847),
    ("QNLI", "test"): GlueFile("QNLI.tsv", 5_463),
    ("RTE", "test"): GlueFile("RTE.tsv", 3_000),
    ("WNLI", "test"): GlueFile("WNLI.tsv", 146),
    ("AX", "test"): GlueFile("AX.tsv", 1_104),
}


def models_to_submit(model: FinishedModel) -> list[FinishedModel]:
    """The model itself and, for that of MNLI, the same beside the diagnostics where they were made."""
    beside = model.data.parent / "AX-bin"
    if model.metadata.task == ANSWERS_AX and (beside / "input0").is_dir():
        return [model, FinishedModel.of(model.checkpoint, beside)]
    return [model]


def submitted_splits(model: FinishedModel, cut: bool = False) -> list[str]:
    """The model's test splits that GLUE asks for.

    cut  whether the data may have another number of rows than GLUE's

    Raises CannotStart when they could not be submitted.
    """
    metadata, learned = model.metadata, model.checkpoint.config.get("fine_tuned_on")
    if metadata.task not in {task for task, _ in GLUE_FILES}:
        raise CannotStart(
            f"--submission takes GLUE's tasks, and {model.data} is {metadata.task}: give the data of one of them, as "
            "`python -m preprocess.glue` makes it."
        )
    if learned not in (None, metadata.task) and (learned, metadata.task) != (ANSWERS_AX, "AX"):
        raise CannotStart(
            f"--checkpoint {model.checkpoint.path} was fine-tuned on {learned}, but {model.data} is {metadata.task}: "
            "give the folder above, where each checkpoint finds the data of its task."
        )

    splits = [split for split in model.splits() if (metadata.task, split) in GLUE_FILES]
    if not splits:
        raise CannotStart(
            f"--data {model.data} has no test split: make it with GLUE's test.tsv (`python -m preprocess.glue`)."
        )
    for split in splits:
        found, expected = len(model.dataset(split)), GLUE_FILES[metadata.task, split].rows
        if found != expected and not cut:
            raise CannotStart(
                f"--data {model.data} has {found:,} rows in {split}, but GLUE's file has {expected:,}: make the data "
                "again from GLUE's own test file, or add --cut where it was cut on purpose."
            )
    return splits


def write_answers(folder: Path, split: str, predictions: Predictions, metadata: Metadata) -> Path:
    """Writes the file of one test split into the folder; returns its path."""
    path = folder / GLUE_FILES[metadata.task, split].name
    lines = ["index\tprediction"]
    lines += [f"{index}\t{answer}" for index, answer in enumerate(answers(predictions.logits, metadata))]
    with atomic_write(path) as file:
        file.write(("\n".join(lines) + "\n").encode())
    return path


def answers(logits: np.ndarray, metadata: Metadata) -> list[str]:
    """What GLUE expects for each row: the label's word, or a score within the task's own scale."""
    if metadata.regression:
        return [f"{score:.3f}" for score in np.clip(logits[:, 0], 0, 1) * metadata.score_scale]
    return [metadata.labels[number] for number in logits.argmax(axis=1)]


def write_archive(folder: Path) -> tuple[Path, list[str], list[str]]:
    """Zips the files that the folder holds, of whatever call; returns the archive, their names and those missing.

    The same files make the same archive, byte for byte.
    """
    names = [glue_file.name for glue_file in GLUE_FILES.values()]
    present = [name for name in names if (folder / name).is_file()]
    with atomic_write(folder / ARCHIVE) as file, zipfile.ZipFile(file, "w") as archive:
        for name in present:
            entry = zipfile.ZipInfo(name)  # of 1980: no time of day
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, (folder / name).read_bytes())
    return folder / ARCHIVE, present, [name for name in names if name not in present]
