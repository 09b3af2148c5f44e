"""A trained student or teacher with the data of its task; computes the logits of any split."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Optional

import numpy as np
import torch

from ..data.metadata import Metadata
from ..data.sentences import SentenceDataset
from ..errors import CannotStart
from ..metrics import metric_names
from ..models.checkpoint import Checkpoint, read_checkpoint
from ..tasks.sentence_prediction_kd import SentencePredictionKDConfig, SentencePredictionKDTask
from .inference import Inference
from .predictions import Predictions

logger = logging.getLogger(__name__)

# GLUE's diagnostics (AX) have no training data; a model of this task predicts them.
TASK_OF_AX_MODEL = "MNLI"
# Sets of tasks with the same classes: a model of one can be evaluated on the others.
SAME_CLASSES = (
    {"MNLI", "SNLI", "AX"},
    {"QNLI", "RTE"},
    {"MRPC", "QQP"},
    {"CoLA"},
    {"SST-2"},
    {"WNLI"},
    {"STS-B"},
)
KNOWN = set().union(*SAME_CLASSES)
# For checkpoints that do not record the batch size of their run's validations.
DEFAULT_BATCH_SIZE = 32


@dataclass(frozen=True)
class LoadedModel:
    """A checkpoint and the data to evaluate it on; the model is only built to compute logits.

    Logits are computed in the precision of the run's validations (`--autocast`, `--fp16`, `--bf16`; fp32 with --amp), so
    that the scores equal the logged ones.
    """

    checkpoint: Checkpoint
    head: str
    task: SentencePredictionKDTask
    data: Path

    @classmethod
    def read(cls, given: str, data: Path) -> "LoadedModel":
        """Read the checkpoint of `--checkpoint` and check that it matches the data of `--data`.

        data  folder of binarized data, or its parent folder, which is searched for the checkpoint's task

        Raises CannotStart if they do not match, or if the checkpoint has no trained classifier.
        """
        return cls.of(read_checkpoint(given, "--checkpoint"), data)

    @classmethod
    def of(cls, checkpoint: Checkpoint, data: Path) -> "LoadedModel":
        """Return the model for a checkpoint that is already read. Checks and errors are those of `read`."""
        head = classifier(checkpoint)
        folder = find_data(data, checkpoint)
        task = _task(folder, checkpoint.classes(head), head)
        task.data.check_vocabulary(checkpoint, "--checkpoint")
        task.data.check_pair_format(checkpoint.shape.pair_format)
        if checkpoint.classes(head) != task.metadata.num_classes:
            raise CannotStart(
                f"--checkpoint {checkpoint.path} has {checkpoint.classes(head)} classes, but {folder} has "
                f"{task.metadata.num_classes}: give the data it was fine-tuned on."
            )
        check_task(checkpoint, task.metadata.task, folder)
        task.student_shape = checkpoint.shape
        return cls(task.data.reordered_head(checkpoint, "--checkpoint"), head, task, folder)

    @property
    def metadata(self) -> Metadata:
        return self.task.metadata

    @cached_property
    def batch_size(self) -> int:
        """Sentences per batch in the run's validations; scores in bf16 can depend on it."""
        validated = self.checkpoint.run.get("dataset") or {}
        return validated.get("batch_size_valid") or validated.get("batch_size") or DEFAULT_BATCH_SIZE

    def metrics(self) -> set[str]:
        """Return the names of the metrics of its predictions."""
        return metric_names(self.metadata.num_classes, self.metadata.regression)

    def splits(self) -> list[str]:
        """Return the names of all splits of the data."""
        if self.metadata.sentences is not None:
            return list(self.metadata.sentences)
        return sorted(path.stem for path in (self.data / "input0").glob("*.idx"))

    def dataset(self, split: str) -> SentenceDataset:
        """Return a split in the order of the data. Raises CannotStart if it is missing or unreadable."""
        if split not in self.task.datasets:
            self.task.load_dataset(split)
        return self.task.dataset(split)

    def predict(
        self, splits: Sequence[str], device: torch.device, batch_size: Optional[int] = None
    ) -> Iterator[tuple[str, Predictions]]:
        """Yield the predictions of each split, in the order of the data.

        batch_size  sentences per batch (default: `batch_size`)
        """
        inference = self.inference(device)
        for split in splits:
            dataset = self.dataset(split)
            logits = split_logits(inference.logits, dataset, batch_size or self.batch_size)
            labels = None if dataset.targets is None else dataset.targets.numpy()
            yield split, Predictions(logits, labels)

    def inference(self, device: torch.device) -> Inference:
        """Return the model on a device."""
        return Inference(self.checkpoint, self.task.dictionary, self.head, device)


def split_logits(
    compute: Callable[[Mapping[str, Any]], torch.Tensor], dataset: SentenceDataset, batch_size: int
) -> np.ndarray:
    """Return logits, float32 [N, C], of N sentences; batches have similar lengths, for little padding.

    compute  returns the logits of a batch, [B, C], for its `net_input`
    """
    order = torch.from_numpy(dataset.ordered_indices())
    batches = (dataset.collater([dataset[int(index)] for index in part]) for part in order.split(batch_size))
    logits = torch.cat([compute(batch["net_input"]) for batch in batches])
    return logits[order.argsort()].numpy()


def labelled_splits(models: Sequence[LoadedModel], asked: Optional[Sequence[str]]) -> list[list[str]]:
    """Return the splits of each model to score: the requested ones that its data has, by default all with labels.

    Raises CannotStart if a requested split is in no data or has no labels, or if there is no split to score.
    """
    chosen = []
    for model in models:
        present = model.splits()
        splits = [split for split in asked or present if split in present]
        labelled = [split for split in splits if model.dataset(split).targets is not None]
        if asked and labelled != splits:
            without = next(split for split in splits if split not in labelled)
            raise CannotStart(
                f"--split {without} has no labels in {model.data}: scripts/predict.py writes its logits.",
                doing="score",
            )
        chosen.append(labelled)
    found = {split for splits in chosen for split in splits}
    for split in asked or ():
        if split not in found:
            known = dict.fromkeys(split for model in models for split in model.splits())
            raise CannotStart(
                f"--split {split} is not in the data, which has {', '.join(known)}.", doing="score"
            )
    if not found:
        raise CannotStart(
            f"--data {models[0].data} has no split with labels: make it with a dev set.", doing="score"
        )
    return chosen


def classifier(checkpoint: Checkpoint) -> str:
    """Return the name of the checkpoint's classification head. Raises CannotStart if none is trained."""
    name = checkpoint.head_name
    if checkpoint.classes(name) is None:
        raise CannotStart(
            f"--checkpoint {checkpoint.path} has no classification head {name}: give a model that was fine-tuned on a task."
        )
    if first_stage(checkpoint):
        raise CannotStart(
            f"--checkpoint {checkpoint.path} is a first stage (--hard-weight 0 --soft-weight 0), whose classifier is not "
            "trained: give the checkpoint of the second stage."
        )
    return name


def first_stage(checkpoint: Checkpoint) -> bool:
    """Return whether the checkpoint's run neither trained a classifier nor copied one."""
    criterion = checkpoint.criterion or {}
    weights = [criterion.get(name) for name in ("hard_weight", "soft_weight")]
    return weights == [0, 0] and not checkpoint.config.get("init_head")


def find_data(data: Path, checkpoint: Checkpoint) -> Path:
    """Return the folder of binarized data for `--data`: the folder itself, or that of the checkpoint's task in it.

    Raises CannotStart if there is none.
    """
    if (data / "input0").is_dir():
        return data

    task = checkpoint.config.get("fine_tuned_on")
    if task is None:
        raise CannotStart(
            f"--data {data} is not a folder of binarized data, and the task of --checkpoint {checkpoint.path} is unknown: "
            "give the folder <TASK>-bin itself."
        )
    folder = data / f"{task}-bin"
    if not (folder / "input0").is_dir():
        raise CannotStart(
            f"--data {data} has no data of {task}, which --checkpoint {checkpoint.path} was fine-tuned on ({folder} is "
            f"missing): make it with `python -m preprocess.glue` or `preprocess.custom`, and --out {data}."
        )
    return folder


def device(cpu: bool) -> torch.device:
    """Return the first GPU, or the CPU if `cpu` is True or there is no GPU."""
    return torch.device("cuda" if torch.cuda.is_available() and not cpu else "cpu")


def _task(folder: Path, classes: int, head: str) -> SentencePredictionKDTask:
    """Return the training task, which is only used for its data."""
    without_metadata = not (folder / "meta.json").is_file()
    return SentencePredictionKDTask.setup_task(
        SentencePredictionKDConfig(
            data=str(folder),
            num_classes=classes if without_metadata else None,
            regression_target=without_metadata and classes == 1,
            classification_head_name=head,
            # Usually filled in by fairseq from other sections. No split is shuffled.
            seed=1,
            train_subset="",
            max_tokens=None,
            max_tokens_valid=None,
            best_checkpoint_metric="",
            cpu=False,
            bf16=False,
        )
    )


def check_task(checkpoint: Checkpoint, task: str, folder: Path) -> None:
    """Warn if the task differs from the one that the model was trained on. Raises CannotStart if the classes differ."""
    trained_on = checkpoint.config.get("fine_tuned_on")
    if trained_on in (None, task) or (trained_on, task) == (TASK_OF_AX_MODEL, "AX"):
        return

    found = f"--checkpoint {checkpoint.path} was fine-tuned on {trained_on}, but {folder} is {task}"
    same_classes = next((tasks for tasks in SAME_CLASSES if task in tasks), ())
    known = {trained_on, task} <= KNOWN
    if known and trained_on not in same_classes:
        raise CannotStart(f"{found}, which has other classes: give the data of {trained_on}.")
    logger.warning(f"{found}: the model was not trained on the training data of this task.")
