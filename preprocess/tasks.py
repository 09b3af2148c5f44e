"""Defines the tasks: GLUE's nine and its diagnostics AX (Wang et al., ICLR 2019), SNLI (Bowman et al., EMNLP 2015)."""

from dataclasses import dataclass

from .errors import DataError

NLI = ("entailment", "neutral", "contradiction")
BINARY = ("0", "1")
ENTAILMENT = ("entailment", "not_entailment")

USUAL_SPLITS = {"train": ("train",), "valid": ("dev", "validation"), "test": ("test",)}
MNLI_SPLITS = {
    "train": ("train",),
    "valid": ("dev_matched", "validation_matched"),
    "valid1": ("dev_mismatched", "validation_mismatched"),
    "test": ("test_matched",),
    "test1": ("test_mismatched",),
}


@dataclass(frozen=True, eq=False)  # compared by identity
class Task:
    """Columns, classes, metric and file names of a task.

    text        possible names of each text column: in the original file, then in Hugging Face data
    label       possible names of the label column; () without labels
    labels      class names in the order of their numbers, also Hugging Face's; () = regression
    metric      metric for the best checkpoint, as named in training logs
    folders     further names of the task's folder, case-insensitive
    splits      fairseq's name of a split -> possible file names
    headerless  columns of the original file if it has no header line
    unlabelled  class of rows without a label, which are dropped from training
    delimiter   of files with quoted fields (CSV); None = a comma in .csv, and no quotes in other text
    numbered    whether integers in JSON, parquet and arrow files are class numbers, if no class is named by a number
    scores      lowest and highest score (regression)
    score_scale scores are divided by this number, and predictions multiplied (regression)
    """

    name: str
    text: tuple[tuple[str, ...], ...]
    label: tuple[str, ...]
    labels: tuple[str, ...]
    metric: str = "accuracy"
    folders: tuple[str, ...] = ()
    splits: dict[str, tuple[str, ...]] | None = None
    headerless: tuple[str, ...] = ()
    unlabelled: str | None = None
    delimiter: str | None = None
    numbered: bool = True
    scores: tuple[float, float] = (0.0, 5.0)  # STS-B
    score_scale: float = 5.0

    @property
    def pairs(self) -> bool:
        return len(self.text) == 2

    @property
    def regression(self) -> bool:
        return not self.labels

    @property
    def num_classes(self) -> int:
        return len(self.labels) or 1

    @property
    def files(self) -> dict[str, tuple[str, ...]]:
        return self.splits or USUAL_SPLITS

    @property
    def needed(self) -> list[str]:
        """Required splits."""
        return [split for split in self.files if split.startswith(("train", "valid"))] or list(self.files)


_SENTENCES = (("sentence1",), ("sentence2",))
_PREMISE = (("sentence1", "premise", "Premise"), ("sentence2", "hypothesis", "Hypothesis"))

TASKS = {
    task.name: task
    for task in (
        Task(
            "CoLA",
            (("sentence",),),
            ("label",),
            BINARY,
            metric="mcc",
            headerless=("source", "label", "mark", "sentence"),
        ),
        Task("SST-2", (("sentence",),), ("label",), BINARY, folders=("SST2",)),
        Task("MRPC", (("#1 String", "sentence1"), ("#2 String", "sentence2")), ("Quality", "label"), BINARY),
        Task("QQP", (("question1",), ("question2",)), ("is_duplicate", "label"), BINARY),
        Task("STS-B", _SENTENCES, ("score", "label"), (), metric="pearson", folders=("STSB",)),
        Task("MNLI", _PREMISE, ("gold_label", "label"), NLI, splits=MNLI_SPLITS, unlabelled="-"),
        Task("QNLI", (("question",), ("sentence",)), ("label",), ENTAILMENT),
        Task("RTE", _SENTENCES, ("label",), ENTAILMENT),
        Task("WNLI", _SENTENCES, ("label",), BINARY),
        Task("SNLI", _PREMISE, ("gold_label", "label"), NLI, folders=("snli_1.0",), unlabelled="-"),
        Task("AX", _PREMISE, (), NLI, folders=("diagnostic",), splits={"test": ("AX", "diagnostic", "test")}),
    )
}


def find_task(name: str) -> Task:
    """Return the task of that name, case-insensitive: SST-2, sst-2 and sst2 are equal. Raises DataError."""
    for task in TASKS.values():
        if name.lower() in {known.lower() for known in (task.name, *task.folders)}:
            return task
    raise DataError(f"--tasks {name} is unknown: choose from {', '.join(TASKS)}.")
