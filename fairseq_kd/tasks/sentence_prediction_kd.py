"""`--task sentence_prediction_kd`: classify or score sentences and pairs, beside a teacher."""

import contextlib
import logging
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Optional

import numpy as np
import torch
from fairseq.data import Dictionary, data_utils
from fairseq.dataclass import ChoiceEnum, FairseqDataclass
from fairseq.logging import metrics
from fairseq.tasks import FairseqTask, register_task
from omegaconf import II, MISSING, open_dict

from ..data.metadata import Metadata, dictionary_hash, read_metadata
from ..data.sentences import SentenceDataset
from ..errors import CannotStart
from ..memory import peak_memory
from ..metrics import forget
from ..models.checkpoint import Checkpoint, read_checkpoint
from ..models.initialization import initialization
from ..models.shape import ModelShape
from ..summary import summary
from ..teachers import LiveTeacher

logger = logging.getLogger(__name__)


@dataclass
class SentencePredictionKDConfig(FairseqDataclass):
    data: str = field(
        default=MISSING, metadata={"help": "folder of binarized data, as made by `python -m preprocess.glue`"}
    )
    teacher: Optional[str] = field(
        default=None,
        metadata={
            "help": "the teacher's checkpoint: a file, or a folder holding checkpoint_best.pt or model.pt "
            "(default: none, for losses that need no teacher)"
        },
    )
    teacher_device: Optional[str] = field(
        default=None,
        metadata={"help": "where the teacher runs, such as cuda:1 or cpu (default: beside the student)"},
    )
    teacher_precision: ChoiceEnum(["fp32", "bf16", "fp16"]) = field(
        default="fp32", metadata={"help": "precision of the teacher's weights and signals (default: fp32)"}
    )
    autocast: ChoiceEnum(["none", "bf16"]) = field(
        default="none",
        metadata={
            "help": "run the student's matrix products in bf16, on CPU or GPU; weights, optimizer and losses stay "
            "fp32 (default: none)"
        },
    )
    num_classes: Optional[int] = field(
        default=None,
        metadata={"help": "number of classes, 1 for regression (default: that of the data's meta.json)"},
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
    seed: int = II("common.seed")
    train_subset: str = II("dataset.train_subset")
    best_checkpoint_metric: str = II("checkpoint.best_checkpoint_metric")
    cpu: bool = II("common.cpu")
    bf16: bool = II("common.bf16")


@register_task("sentence_prediction_kd", dataclass=SentencePredictionKDConfig)
class SentencePredictionKDTask(FairseqTask):
    """Holds the data, the teacher and what is known of the student, for criterions to ask."""

    def __init__(self, cfg: SentencePredictionKDConfig, dictionary: Dictionary, metadata: Metadata) -> None:
        super().__init__(cfg)
        self.dictionary = dictionary
        self.metadata = metadata
        self.student_shape: Optional[ModelShape] = None
        self.initialized: list[str] = []
        self.resumed: Optional[Checkpoint] = None
        self.labels_for: list[str] = []
        self.peak_gb = 0.0

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
        metadata = read_metadata(data) or _metadata_from_flags(cfg, path)
        if cfg.num_classes not in (None, metadata.num_classes):
            raise CannotStart(
                f"--num-classes {cfg.num_classes} contradicts {data / 'meta.json'}, which says "
                f"{metadata.num_classes}: leave the flag out."
            )
        return cls(cfg, dictionary, metadata)

    @property
    def source_dictionary(self) -> Dictionary:
        return self.dictionary

    @property
    def target_dictionary(self) -> Dictionary:
        return self.dictionary

    @property
    def regression(self) -> bool:
        return self.metadata.regression

    @property
    def head(self) -> str:
        """The name of the classification head."""
        return self.cfg.classification_head_name

    def max_positions(self) -> Optional[int]:
        return None if self.student_shape is None else self.student_shape.max_positions

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
        if self.student_shape is not None and longest > self.student_shape.max_positions:
            raise CannotStart(
                f"{data / 'input0' / split} holds an example of {longest} tokens, but the student takes "
                f"{self.student_shape.max_positions} (--max-positions): make the data again with "
                f"`python -m preprocess.glue --max-positions {self.student_shape.max_positions}`."
            )
        logger.info(f"{split}: {len(dataset)} sentences, longest {longest} tokens")
        self.datasets[split] = dataset
        return dataset

    def _stored(self, path: Path, combine: bool):
        try:
            return data_utils.load_indexed_dataset(str(path), self.dictionary, combine=combine)
        except (OSError, ValueError, AttributeError, AssertionError, struct.error) as error:
            raise CannotStart(
                f"{path}.idx or .bin cannot be read ({type(error).__name__}: {error}): they may be damaged; make the "
                "data again with `python -m preprocess.glue --overwrite`."
            ) from None

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

    def train_labels(self) -> Optional[np.ndarray]:
        """Class numbers of the training set, [N], for criterions, which are built before fairseq loads that set.

        None where it has none.
        """
        data, split = Path(self.cfg.data), self.cfg.train_subset
        # Parts of a split (train, train1, ..) are joined, as fairseq does in training.
        first = self._stored(data / "input0" / split, combine=True)
        return None if first is None else self._labels(data / "label" / split, len(first), combine=True)

    def train_step(self, sample, *args, ignore_grad: bool = False, **kwargs):
        """As fairseq's. Tells the criterion which batches only fill up a worker's turn, of whatever split.

        Logs `peak_gb`, the most memory needed so far, in GiB.
        """
        done = super().train_step({**sample, "filler": ignore_grad}, *args, ignore_grad=ignore_grad, **kwargs)
        peak = peak_memory(done[0].device)
        if peak is not None:
            self.peak_gb = max(self.peak_gb, peak)
            metrics.log_scalar("peak_gb", self.peak_gb, weight=0, priority=1500, round=2)
        return done

    def build_model(self, cfg, from_checkpoint: bool = False):
        """Builds the student; initialises it unless it is being loaded from a checkpoint.

        The sizes it ends up with are written into `cfg`, which fairseq saves with the weights.
        """
        source = None
        if not from_checkpoint:
            source = initialization(cfg, self.teacher_checkpoint, self.metadata.pair_format)
        self.check_vocabulary(source.source if source else None, "--init-from")
        self.check_pair_format(cfg.get("pair_format"))

        model = super().build_model(cfg, from_checkpoint)
        model.register_classification_head(self.head, self.metadata.num_classes)
        self.student, self.student_shape = model, model.shape
        if source is not None:
            self.initialized = source.apply(model, self.head)
            self.resumed = source.source if source.resumed else None
            with open_dict(cfg):
                cfg.dictionary_hash = self.metadata.dictionary_hash
                cfg.fine_tuned_on = self.metadata.task
        return model

    def build_criterion(self, cfg):
        """Builds the criterion and checks, before any training, that all its terms can be had."""
        criterion = super().build_criterion(cfg)
        if not hasattr(criterion, "problems"):
            return criterion
        problems = criterion.problems
        if not problems and self.cfg.best_checkpoint_metric not in criterion.logged():
            problems.append(
                f"--best-checkpoint-metric {self.cfg.best_checkpoint_metric} is not logged here: choose among "
                f"{', '.join(sorted(criterion.logged()))}."
            )
        problems += self._other_criterion(cfg)
        if problems:
            raise CannotStart(*problems, doing="start distillation")
        self.labels_for = criterion.labels_for()

        if criterion.teacher_wanted:
            self.teacher = self._load_teacher()
            self._warn_of_another_task()
        frozen = self.student.freeze_unreached(criterion.student_wanted, criterion.head)
        logger.info(
            summary(self.student_shape, self.teacher_shape, self.initialized, criterion, self.student, frozen)
        )
        return criterion

    @cached_property
    def teacher_checkpoint(self) -> Optional[Checkpoint]:
        """The teacher as read from disk; None without `--teacher`."""
        if self.cfg.teacher is None:
            return None
        checkpoint = read_checkpoint(self.cfg.teacher, "--teacher")
        self.check_vocabulary(checkpoint, "--teacher")
        return checkpoint

    @property
    def teacher_shape(self) -> Optional[ModelShape]:
        return None if self.teacher_checkpoint is None else self.teacher_checkpoint.shape

    def teacher_missing(self, what: str) -> str:
        """The sentence that says that `what` cannot do without a teacher."""
        return f"{what} learns from a teacher and none was given: give --teacher CHECKPOINT."

    def logits_problems(self) -> list[str]:
        """Why the teacher's logits cannot be learned from: sentences, none where they can."""
        teacher = self.teacher_checkpoint
        if teacher is None:
            return [self.teacher_missing("--soft-weight above 0")]

        classes = teacher.classes(self.head)
        if classes is None:
            return [
                f"--teacher {teacher.path} has no classification head {self.head}, which --soft-weight above 0 learns from: "
                "fine-tune it on the task first (scripts/finetune_teacher.py), or set --soft-weight 0."
            ]
        if classes != self.metadata.num_classes:
            return [
                f"--teacher {teacher.path} tells {classes} classes apart, but {self.cfg.data} has "
                f"{self.metadata.num_classes}: take a teacher fine-tuned on this task."
            ]
        return []

    def _other_criterion(self, cfg) -> list[str]:
        """Why the run in --save-dir cannot go on with this criterion; nothing where it can."""
        before = (self.resumed and self.resumed.criterion) or {}
        return [
            f"the run in {self.resumed.path.parent} was begun with {flag} {before[name]}, now {cfg[name]}: give another "
            "--save-dir, or the settings of that run to go on with it."
            for name, flag in (("_name", "--criterion"), ("mapping", "--mapping"))
            if name in before and name in cfg and before[name] != cfg[name]
        ]

    def _warn_of_another_task(self) -> None:
        learned = self.teacher_checkpoint.config.get("fine_tuned_on")
        if learned not in (None, self.metadata.task):
            logger.warning(
                f"--teacher {self.teacher_checkpoint.path} was fine-tuned on {learned}, but {self.cfg.data} is "
                f"{self.metadata.task}."
            )

    def _load_teacher(self) -> LiveTeacher:
        return LiveTeacher(
            self.teacher_checkpoint,
            self.dictionary,
            self.head,
            self.cfg.teacher_device,
            self.cfg.teacher_precision,
        )

    def autocast(self, sample: Mapping[str, Any]) -> contextlib.AbstractContextManager:
        """The student's precision, as `--autocast` says."""
        if self.cfg.autocast == "none":
            return contextlib.nullcontext()
        return torch.autocast(sample["net_input"]["src_tokens"].device.type, dtype=torch.bfloat16)

    def begin_valid_epoch(self, epoch: int, model) -> None:
        forget("valid")

    def check_vocabulary(self, checkpoint: Optional[Checkpoint], flag: str) -> None:
        """Raises CannotStart when the model numbers its words differently from the data."""
        if checkpoint is None:
            return
        if checkpoint.words != len(self.dictionary):
            raise CannotStart(
                f"{flag} {checkpoint.path} knows {checkpoint.words} words, but the data in {self.cfg.data} uses "
                f"{len(self.dictionary)}: make the data again with this model's vocabulary (--encoder-dir)."
            )
        if checkpoint.dictionary_hash not in (None, self.metadata.dictionary_hash):
            raise CannotStart(
                f"{flag} {checkpoint.path} numbers its words differently from the data in {self.cfg.data} (their "
                "dict.txt differ): make the data again with this model's vocabulary (--encoder-dir)."
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
    if cfg.bf16 and cfg.cpu:
        raise CannotStart("--bf16 with --cpu takes fairseq's way for TPUs: give --autocast bf16 instead.")


def _metadata_from_flags(cfg: SentencePredictionKDConfig, dictionary: Path) -> Metadata:
    """For data that fairseq's own scripts made: the flags say what meta.json would."""
    if cfg.num_classes is None:
        raise CannotStart(
            f"data folder {cfg.data} has no meta.json: give --num-classes (1 with --regression-target), or make the "
            "data with `python -m preprocess.glue`."
        )
    return Metadata(
        task=Path(cfg.data).name,
        num_classes=cfg.num_classes,
        regression=cfg.regression_target,
        pairs=(Path(cfg.data) / "input1").is_dir(),
        pair_format="roberta",
        dictionary_hash=dictionary_hash(dictionary),
    )
