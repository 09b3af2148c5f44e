"""`--task sentence_prediction_kd`: classify or score sentences and pairs, beside a teacher."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Optional

import numpy as np
from fairseq.data import Dictionary
from fairseq.tasks import register_task
from omegaconf import MISSING

from ..data.binarized import read_split
from ..data.metadata import Metadata
from ..data.sentences import SentenceDataset
from ..errors import CannotStart
from ..models.checkpoint import Checkpoint
from ..models.label_order import order_problem, order_remark, reorder_labels, same_order
from ..objectives import SentenceLabels
from ..signals import Wanted
from .distillation import DistillationTask, DistillationTaskConfig
from .labels import metadata_of
from .teaching import stored_files

logger = logging.getLogger(__name__)


@dataclass
class SentencePredictionKDConfig(DistillationTaskConfig):
    data: str = field(
        default=MISSING, metadata={"help": "folder of binarized data, as made by `python -m preprocess.glue`"}
    )
    num_classes: Optional[int] = field(
        default=None,
        metadata={
            "help": "number of classes, 1 for regression (default: as in the data's meta.json or label/dict.txt)"
        },
    )
    regression_target: bool = field(
        default=False, metadata={"help": "labels are numbers (default: as the data's meta.json says)"}
    )
    length_bucket: int = field(
        default=1,
        metadata={
            "help": "training sentences are shuffled, then sorted by length within buckets of this many; saves some "
            "attention over padding, at the cost of batches that are alike (default: 1 sentence, no sorting)"
        },
    )
    classification_head_name: str = field(
        default="sentence_classification_head",
        metadata={
            "help": "name of the classification head, the student's and the teacher's "
            "(default: sentence_classification_head)"
        },
    )


@register_task("sentence_prediction_kd", dataclass=SentencePredictionKDConfig)
class SentencePredictionKDTask(DistillationTask):
    """Holds labelled sentences beside the teacher."""

    row_flags = (*DistillationTask.row_flags, "length_bucket")

    def __init__(self, cfg: SentencePredictionKDConfig, dictionary: Dictionary, metadata: Metadata) -> None:
        super().__init__(cfg, dictionary, metadata.dictionary_hash)
        self.metadata = metadata
        self.objective = SentenceLabels(metadata.num_classes, metadata.regression)

    @classmethod
    def setup_task(cls, cfg: SentencePredictionKDConfig, **_: Any) -> "SentencePredictionKDTask":
        _check_flags(cfg)
        data = Path(cfg.data)
        path = data / "input0" / "dict.txt"
        if not path.is_file():
            raise CannotStart(
                f"data folder {data} holds no input0/dict.txt: make it with `python -m preprocess.glue`."
            )

        dictionary = Dictionary.load(str(path))
        dictionary.add_symbol("<mask>")
        return cls(cfg, dictionary, metadata_of(cfg, path))

    @property
    def regression(self) -> bool:
        return self.metadata.regression

    @property
    def head(self) -> str:
        """The name of the classification head."""
        return self.cfg.classification_head_name

    @property
    def pair_format(self) -> str:
        return self.metadata.pair_format

    @property
    def data_length(self) -> Optional[int]:
        return self.metadata.max_positions

    def add_heads(self, model) -> None:
        model.register_classification_head(self.head, self.metadata.num_classes)

    def check_student(self, cfg) -> None:
        self.check_pair_format(cfg.get("pair_format"))
        # A model that is loaded, as by fairseq-validate, keeps the order of its logits.
        names = tuple(cfg.get("class_names") or ())
        if len(names) == len(self.class_names) and not same_order(self.class_names, names):
            raise CannotStart(
                f"the model has the classes {', '.join(names)} in this order, but {self.cfg.data} has "
                f"{', '.join(self.class_names)}: use scripts/evaluate.py, which reorders them."
            )

    @property
    def class_names(self) -> tuple[str, ...]:
        return self.metadata.labels

    def learned_here(self) -> dict[str, Any]:
        # Without names in the data there are no labels either, and the student learns the teacher's order.
        teacher = self.teacher_checkpoint
        taught = () if teacher is None else teacher.class_names
        names = self.class_names or (taught if len(taught) == self.metadata.num_classes else ())
        return {**super().learned_here(), "fine_tuned_on": self.metadata.task, "class_names": list(names)}

    def load_dataset(self, split: str, combine: bool = False, **_: Any) -> SentenceDataset:
        """Loads one split; training data in shuffled buckets, everything else by length."""
        data = Path(self.cfg.data)
        first = self._stored(data / "input0" / split, combine)
        if first is None:
            present = ", ".join(sorted(path.stem for path in (data / "input0").glob("*.idx")))
            raise CannotStart(f"{data} has no split called {split}: it has {present}.")

        second = self._stored(data / "input1" / split, combine)
        dataset = SentenceDataset(
            first,
            second,
            self._labels(data / "label" / split, len(first), combine),
            self.metadata.pair_format,
            seed=self.cfg.seed,
            bucket=self.cfg.length_bucket if split == self.cfg.train_subset else None,
        )
        if dataset.targets is None and self.labels_for:
            flags = self.labels_for
            raise CannotStart(
                f"{data} has no labels for {split}, which {' and '.join(flags)} above 0 learns from: take a split that has "
                f"them (--train-subset, --valid-subset), or set {' 0 and '.join(flags)} 0."
            )
        longest = int(dataset.sizes.max(initial=0))
        readers = {"the student (--max-positions)": self.student_shape}
        if self.teacher is not None:
            readers[self.teacher_given] = self.teacher_shape
        for reader, shape in readers.items():
            if shape is not None and longest > shape.max_positions:
                raise CannotStart(
                    f"{data / 'input0' / split} holds an example of {longest} tokens, but {reader} takes "
                    f"{shape.max_positions}: make the data again with `python -m preprocess.glue --max-positions "
                    f"{shape.max_positions}`."
                )
        self._check_batches(split, longest)
        logger.info(f"{split}: {len(dataset)} sentences, longest {longest} tokens")
        inputs = [data / name / split for name in ("input0", "input1")[: 1 if second is None else 2]]
        stored = [file for path in inputs for file in stored_files(path, combine)]
        self.serve_teacher(dataset, split, stored, {"pair_format": self.metadata.pair_format})
        self.datasets[split] = dataset
        return dataset

    def _check_batches(self, split: str, longest: int) -> None:
        """Raises CannotStart where no batch has room for some example, which fairseq would drop, or end at."""
        most, flag = self.cfg.max_tokens, "--max-tokens"
        if split != self.cfg.train_subset and self.cfg.max_tokens_valid != most:
            most, flag = self.cfg.max_tokens_valid, "--max-tokens-valid"
        if most is not None and longest > most:
            raise CannotStart(
                f"{flag} {most} is less than the {longest} of one example of {split}: give more."
            )

    def _stored(self, path: Path, combine: bool):
        return read_split(path, self.dictionary, combine, "python -m preprocess.glue --overwrite")

    def _labels(self, path: Path, expected: int, combine: bool) -> Optional[np.ndarray]:
        if self.regression:
            text = path.with_name(path.name + ".label")
            if not text.is_file():
                return None
            try:
                labels = np.array([float(line) for line in text.read_text().split()])
            except ValueError as error:
                raise CannotStart(
                    f"{text} holds a label that is no number ({error}): make the data again."
                ) from None
        else:
            stored = self._stored(path, combine)
            if stored is None:
                return None
            offset = Dictionary().nspecial
            labels = np.array([int(stored[index][0]) - offset for index in range(len(stored))])

        if len(labels) != expected:
            raise CannotStart(
                f"{path} has {len(labels)} labels for {expected} sentences: make the data again."
            )
        if (
            not self.regression
            and len(labels)
            and not 0 <= labels.min() <= labels.max() < self.metadata.num_classes
        ):
            raise CannotStart(
                f"{path} has a label outside the {self.metadata.num_classes} classes 0.."
                f"{self.metadata.num_classes - 1}: make the data again, or set --num-classes."
            )
        return labels

    def train_step(self, sample, *args, ignore_grad: bool = False, **kwargs):
        """As DistillationTask's. What fills up a worker's turn has labels where the training set has them.

        fairseq takes a batch of the last split that it went through, and adds up over workers what all of them log.
        """
        if ignore_grad:
            sample = self._labelled_as_training(sample)
        return super().train_step(sample, *args, ignore_grad=ignore_grad, **kwargs)

    def _labelled_as_training(self, sample: Mapping[str, Any]) -> dict[str, Any]:
        targets = self.dataset(self.cfg.train_subset).targets
        unlabelled = {name: value for name, value in sample.items() if name != "target"}
        if targets is None or "target" in sample:
            return unlabelled if targets is None else dict(sample)
        return unlabelled | {"target": targets.new_zeros(sample["nsentences"]).to(sample["id"].device)}

    def train_labels(self) -> Optional[np.ndarray]:
        """Class numbers of the training set, [N], for criterions, which are built before fairseq loads that set.

        None where it has none.
        """
        data, split = Path(self.cfg.data), self.cfg.train_subset
        # Parts of a split (train, train1, ..) are joined, as fairseq does in training.
        first = self._stored(data / "input0" / split, combine=True)
        return None if first is None else self._labels(data / "label" / split, len(first), combine=True)

    def logits_problems(self) -> list[str]:
        """Why the teacher's logits cannot be learned from: sentences, none where they can."""
        if self.known_teacher is None:
            return [self.teacher_missing("--soft-weight above 0")]

        classes = self.known_teacher.classes(self.head)
        if classes is None:
            return [
                f"{self.teacher_given} has no classification head {self.head}, which --soft-weight above 0 learns from: "
                "fine-tune it on the task first (scripts/finetune_teacher.py), or set --soft-weight 0."
            ]
        if classes != self.metadata.num_classes:
            return [
                f"{self.teacher_given} tells {classes} classes apart, but {self.cfg.data} has "
                f"{self.metadata.num_classes}: take a teacher fine-tuned on this task."
            ]
        if self.teacher_checkpoint is None:
            return []
        problem = order_problem(self.class_names, self.teacher_checkpoint, self.head, "--teacher")
        return [] if problem is None else [problem]

    def in_order(self, checkpoint: Checkpoint, flag: str) -> Checkpoint:
        return reorder_labels(self.class_names, checkpoint, self.head, flag)

    def check_order(self, checkpoint: Checkpoint, flag: str) -> None:
        problem = order_problem(self.class_names, checkpoint, self.head, flag)
        if problem is not None:
            raise CannotStart(problem)
        self._warn_of_order(checkpoint, flag)

    def check_resumed_order(self, checkpoint: Checkpoint, flag: str) -> None:
        before = checkpoint.class_names
        if before and len(before) == len(self.class_names) and before != self.class_names:
            raise CannotStart(
                f"the run of {flag} {checkpoint.path} was begun with the classes {', '.join(before)} in this order, but "
                f"{self.cfg.data} has {', '.join(self.class_names)}: give data with the order of that run."
            )

    def _warn_of_order(self, checkpoint: Checkpoint, flag: str) -> None:
        """Log a warning if the order of the checkpoint's classes is unknown."""
        remark = order_remark(self.class_names, checkpoint, self.head, flag)
        # Data of one task made by preprocess.glue has one order.
        if remark is not None and checkpoint.config.get("fine_tuned_on") != self.metadata.task:
            logger.warning(remark)

    def warn_of_teacher(self, wanted: Wanted) -> None:
        if wanted.logits:
            self._warn_of_order(self.teacher_checkpoint, "--teacher")
        learned = self.teacher_checkpoint.config.get("fine_tuned_on")
        if learned not in (None, self.metadata.task):
            logger.warning(
                f"--teacher {self.teacher_checkpoint.path} was fine-tuned on {learned}, but {self.cfg.data} is "
                f"{self.metadata.task}."
            )

    def check_pair_format(self, pair_format: Optional[str]) -> None:
        """Raises CannotStart when the model joins pairs in another way than the data does."""
        if self.metadata.pairs and pair_format not in (None, self.metadata.pair_format):
            raise CannotStart(
                f"the data in {self.cfg.data} joins pairs as {self.metadata.pair_format} does, but the model was made for "
                f"{pair_format}: make the data again with this model's vocabulary (--encoder-dir)."
            )


def _check_flags(cfg: SentencePredictionKDConfig) -> None:
    if cfg.length_bucket < 1:
        raise CannotStart(f"--length-bucket {cfg.length_bucket} holds no sentence: give 1 or more.")
