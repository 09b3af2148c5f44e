"""Writes submissions for GLUE's server (gluebenchmark.com): one file `index<TAB>prediction` per test set, zipped."""

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..data.metadata import Metadata
from ..errors import CannotStart
from .loaded_model import TASK_OF_AX_MODEL, LoadedModel
from .output_file import atomic_write
from .predictions import Predictions

ARCHIVE = "submission.zip"


@dataclass(frozen=True)
class GlueFile:
    """File name of a test split's predictions, and its number of rows in GLUE."""

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


def models_to_submit(model: LoadedModel) -> list[LoadedModel]:
    """Return the model, and for MNLI also the same model with the diagnostics data, if it exists."""
    diagnostics = model.data.parent / "AX-bin"
    if model.metadata.task == TASK_OF_AX_MODEL and (diagnostics / "input0").is_dir():
        return [model, LoadedModel.of(model.checkpoint, diagnostics)]
    return [model]


def submitted_splits(model: LoadedModel, cut: bool = False) -> list[str]:
    """Return the names of the model's test splits that GLUE requires.

    cut  accept data with another number of rows than GLUE's files

    Raises CannotStart if they cannot be submitted.
    """
    metadata, trained_on = model.metadata, model.checkpoint.config.get("fine_tuned_on")
    if metadata.task not in {task for task, _ in GLUE_FILES}:
        raise CannotStart(
            f"--submission requires a GLUE task, but {model.data} is {metadata.task}: give data of a GLUE task "
            "(`python -m preprocess.glue`)."
        )
    if trained_on not in (None, metadata.task) and (trained_on, metadata.task) != (TASK_OF_AX_MODEL, "AX"):
        raise CannotStart(
            f"--checkpoint {model.checkpoint.path} was fine-tuned on {trained_on}, but {model.data} is {metadata.task}: "
            "give the parent folder, so that each checkpoint uses the data of its task."
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
                "again from GLUE's test file, or add --cut if it was cut on purpose."
            )
    return splits


def write_predictions(folder: Path, split: str, predictions: Predictions, metadata: Metadata) -> Path:
    """Write the file of one test split to the folder and return its path."""
    path = folder / GLUE_FILES[metadata.task, split].name
    lines = ["index\tprediction"]
    lines += [
        f"{index}\t{prediction}"
        for index, prediction in enumerate(glue_predictions(predictions.logits, metadata))
    ]
    with atomic_write(path) as file:
        file.write(("\n".join(lines) + "\n").encode())
    return path


def glue_predictions(logits: np.ndarray, metadata: Metadata) -> list[str]:
    """Return the predictions in GLUE's format: label names, or scores in the scale of the task."""
    if metadata.regression:
        return [f"{score:.3f}" for score in np.clip(logits[:, 0], 0, 1) * metadata.score_scale]
    return [metadata.labels[number] for number in logits.argmax(axis=1)]


def write_archive(folder: Path) -> tuple[Path, list[str], list[str]]:
    """Zip all prediction files in the folder, including those of earlier calls.

    Returns the archive, the names of its files and the names of missing files. Equal files make a byte-identical archive.
    """
    names = [glue_file.name for glue_file in GLUE_FILES.values()]
    present = [name for name in names if (folder / name).is_file()]
    with atomic_write(folder / ARCHIVE) as file, zipfile.ZipFile(file, "w") as archive:
        for name in present:
            entry = zipfile.ZipInfo(name)  # with the fixed date 1980
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, (folder / name).read_bytes())
    return folder / ARCHIVE, present, [name for name in names if name not in present]
