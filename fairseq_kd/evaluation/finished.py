"""A finished student or teacher, and its logits of any split of its task's data."""

import logging
from collections.abc import Iterator, Sequence
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
from ..models.roberta_student import RobertaStudent
from ..precisions import PRECISIONS
from ..signals import Wanted
from ..tasks.sentence_prediction_kd import SentencePredictionKDConfig, SentencePredictionKDTask
from ..teachers.live import frozen_model
from .predictions import Predictions

logger = logging.getLogger(__name__)

# GLUE has no training data for its diagnostics: the model of this task answers them.
ANSWERS_AX = "MNLI"
# The model of one of these tasks can answer the others; of tasks that are not ours nobody can say.
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
# Where the checkpoint does not tell what its run validated with.
USUAL_BATCH_SIZE = 32


@dataclass(frozen=True)
class FinishedModel:
    """A checkpoint beside the data it is asked about; the model itself is built when logits are.

    Logits come in the precision the run validated in (`--autocast`, `--fp16`, `--bf16`; with --amp it was fp32), so
    that they score what it logged.
    """

    checkpoint: Checkpoint
    head: str
    task: SentencePredictionKDTask
    data: Path

    @classmethod
    def read(cls, given: str, data: Path) -> "FinishedModel":
        """Reads what `--checkpoint` names, and checks it against the data that `--data` names.

        data  a folder of binarized data, or the folder above, where the checkpoint's own task is found

        Raises CannotStart when they do not fit each other, or there is no trained classifier.
        """
        return cls.of(read_checkpoint(given, "--checkpoint"), data)

    @classmethod
    def of(cls, checkpoint: Checkpoint, data: Path) -> "FinishedModel":
        """As `read`, of a checkpoint that has been read."""
        head = classifier(checkpoint)
        folder = find_data(data, checkpoint)
        task = _task(folder, checkpoint.classes(head), head)
        task.check_vocabulary(checkpoint, "--checkpoint")
        task.check_pair_format(checkpoint.shape.pair_format)
        if checkpoint.classes(head) != task.metadata.num_classes:
            raise CannotStart(
                f"--checkpoint {checkpoint.path} tells {checkpoint.classes(head)} classes apart, but {folder} has "
                f"{task.metadata.num_classes}: give the data it was fine-tuned on."
            )
        check_task(checkpoint, task.metadata.task, folder)
        task.student_shape = checkpoint.shape
        task.check_order(checkpoint, "--checkpoint")
        return cls(task.in_order(checkpoint, "--checkpoint"), head, task, folder)

    @property
    def metadata(self) -> Metadata:
        return self.task.metadata

    @cached_property
    def batch_size(self) -> int:
        """Sentences a batch in the run's own validations: in bf16 a score can depend on it."""
        validated = self.checkpoint.run.get("dataset") or {}
        return validated.get("batch_size_valid") or validated.get("batch_size") or USUAL_BATCH_SIZE

    def metrics(self) -> set[str]:
        """The names of the scores that its predictions have."""
        return metric_names(self.metadata.num_classes, self.metadata.regression)

    def splits(self) -> list[str]:
        """Every split that the data has."""
        if self.metadata.sentences is not None:
            return list(self.metadata.sentences)
        return sorted(path.stem for path in (self.data / "input0").glob("*.idx"))

    def dataset(self, split: str) -> SentenceDataset:
        """One split, in the data's order; CannotStart when there is none or it cannot be read."""
        if split not in self.task.datasets:
            self.task.load_dataset(split)
        return self.task.dataset(split)

    def answers_as(self, other: "FinishedModel") -> bool:
        """Whether its predictions are bound to be the other's: equal weights, asked about the same data in the same way."""
        if self._way_of_asking != other._way_of_asking:
            return False
        ours, theirs = self.checkpoint.weights, other.checkpoint.weights
        # The smallest first: it takes one bias to tell two trainings apart.
        return ours.keys() == theirs.keys() and all(
            ours[name].dtype == theirs[name].dtype and torch.equal(ours[name], theirs[name])
            for name in sorted(ours, key=lambda name: ours[name].numel())
        )

    @property
    def _way_of_asking(self) -> tuple:
        return self.data, self.head, self.checkpoint.shape, self.batch_size, self._autocast, self._dtype

    def predict(
        self, splits: Sequence[str], device: torch.device, batch_size: Optional[int] = None
    ) -> Iterator[tuple[str, Predictions]]:
        """The predictions of one split after the other, in the data's order.

        batch_size  sentences a batch (default: `batch_size`)
        """
        model = frozen_model(self.checkpoint, self.task.dictionary, self.head, "--checkpoint")
        model.to(device, self._dtype)
        for split in splits:
            dataset = self.dataset(split)
            logits = self._logits(model, dataset, device, batch_size or self.batch_size)
            labels = None if dataset.targets is None else dataset.targets.numpy()
            yield split, Predictions(logits, labels)

    @torch.inference_mode()
    def _logits(
        self, model: RobertaStudent, dataset: SentenceDataset, device: torch.device, batch_size: int
    ) -> np.ndarray:
        """float32 [N, C] of N sentences; batches of like length, for little padding."""
        logits = torch.zeros(len(dataset), self.metadata.num_classes)
        for indices in torch.from_numpy(dataset.ordered_indices()).split(batch_size):
            batch = dataset.collater([dataset[int(index)] for index in indices])
            given = {name: _moved(value, device) for name, value in batch["net_input"].items()}
            with torch.autocast(device.type, dtype=torch.bfloat16, enabled=self._autocast):
                signals = model(**given, wanted=Wanted(logits=True), classification_head_name=self.head)
            logits[indices] = signals.logits.float().cpu()
        return logits.numpy()

    @property
    def _autocast(self) -> bool:
        return (self.checkpoint.run.get("task") or {}).get("autocast") == "bf16"

    @property
    def _dtype(self) -> torch.dtype:
        """Of the weights; the --memory-efficient-... flags set those two as well."""
        common = self.checkpoint.run.get("common") or {}
        return next((PRECISIONS[name] for name in ("fp16", "bf16") if common.get(name)), torch.float32)


def classifier(checkpoint: Checkpoint) -> str:
    """The name of the checkpoint's classification head; CannotStart without a trained one."""
    name = checkpoint.head_name
    if checkpoint.classes(name) is None:
        raise CannotStart(
            f"--checkpoint {checkpoint.path} has no classification head {name}: give a model that was fine-tuned on a task."
        )
    if first_stage(checkpoint):
        raise CannotStart(
            f"--checkpoint {checkpoint.path} is a first stage (--hard-weight 0 --soft-weight 0), whose classifier was never "
            "trained: give the second stage's."
        )
    return name


def first_stage(checkpoint: Checkpoint) -> bool:
    """Whether the checkpoint's run trained no classifier and had none copied."""
    criterion = checkpoint.criterion or {}
    weights = [criterion.get(name) for name in ("hard_weight", "soft_weight")]
    return weights == [0, 0] and not checkpoint.config.get("init_head")


def find_data(data: Path, checkpoint: Checkpoint) -> Path:
    """The folder of binarized data meant by `--data`: itself, or the one of the checkpoint's task in it."""
    if (data / "input0").is_dir():
        return data

    task = checkpoint.config.get("fine_tuned_on")
    if task is None:
        raise CannotStart(
            f"--data {data} is no folder of binarized data, and --checkpoint {checkpoint.path} does not say which "
            "task it was fine-tuned on: give the folder <TASK>-bin itself."
        )
    folder = data / f"{task}-bin"
    if not (folder / "input0").is_dir():
        raise CannotStart(
            f"--data {data} has no data of {task}, which --checkpoint {checkpoint.path} was fine-tuned on ({folder} is "
            f"missing): give the folder that `python -m preprocess.glue --tasks {task} --out {data}` makes."
        )
    return folder


def device(cpu: bool) -> torch.device:
    """Where to compute: the first GPU, unless `cpu` says no or there is none."""
    return torch.device("cuda" if torch.cuda.is_available() and not cpu else "cpu")


def _task(folder: Path, classes: int, head: str) -> SentencePredictionKDTask:
    """The training task, for its data alone."""
    without_metadata = not (folder / "meta.json").is_file()
    return SentencePredictionKDTask.setup_task(
        SentencePredictionKDConfig(
            data=str(folder),
            num_classes=classes if without_metadata else None,
            regression_target=without_metadata and classes == 1,
            classification_head_name=head,
            # What fairseq fills in from its other sections. No split is shuffled as training data is.
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
    """Warns of a model that is asked about another task than it learned; CannotStart where their classes differ."""
    learned = checkpoint.config.get("fine_tuned_on")
    if learned in (None, task) or (learned, task) == (ANSWERS_AX, "AX"):
        return

    found = f"--checkpoint {checkpoint.path} was fine-tuned on {learned}, but {folder} is {task}"
    answered = next((tasks for tasks in SAME_CLASSES if task in tasks), ())
    known = {learned, task} <= KNOWN
    if known and learned not in answered:
        raise CannotStart(f"{found}, whose classes mean something else: give the data of {learned}.")
    logger.warning(f"{found}: the scores are those of a model that never saw this task's training data.")


def _moved(value: Any, device: torch.device) -> Any:
    return value.to(device) if isinstance(value, torch.Tensor) else value
