"""Base class of the tasks: start-up of student, criterion and teacher, batches, and training steps."""

import importlib.util
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Optional

import numpy as np
from fairseq.criterions import FairseqCriterion
from fairseq.data import Dictionary
from fairseq.data.iterators import EpochBatchIterator
from fairseq.logging import metrics
from fairseq.optim import FairseqOptimizer
from fairseq.tasks import FairseqTask
from omegaconf import II, DictConfig, open_dict
from torch import nn

from ..context import DistillationContext, Teacher
from ..criterions.distillation import DistillationCriterion
from ..data.epoch_position import ResumableEpochs
from ..data.sequences import SequenceDataset
from ..errors import CannotStart
from ..flags import flag_name, warn_unused
from ..memory import keep_freed_memory, peak_memory
from ..metrics import HIGHER_IS_BETTER, reset_meters
from ..models.data_requirements import DataRequirements
from ..models.initialization import find_initialization
from ..models.resume import ResumedRun
from ..models.shape import ModelShape
from ..objectives import MaskedWords, SentenceLabels
from ..optim import drop_frozen_gradients
from ..precisions import student_autocast
from ..teachers.cached import CachedTeacher
from ..teachers.source import TeacherFlags, TeacherSource
from .precision import PrecisionFlags, choose_bf16_products, in_16_bits, precision_error

logger = logging.getLogger(__name__)


@dataclass
class DistillationTaskConfig(PrecisionFlags, TeacherFlags):
    seed: int = II("common.seed")
    train_subset: str = II("dataset.train_subset")
    max_tokens: Optional[int] = II("dataset.max_tokens")
    max_tokens_valid: Optional[int] = II("dataset.max_tokens_valid")
    update_freq: list[int] = II("optimization.update_freq")
    best_checkpoint_metric: str = II("checkpoint.best_checkpoint_metric")
    maximize_best_checkpoint_metric: bool = II("checkpoint.maximize_best_checkpoint_metric")
    tensorboard_logdir: Optional[str] = II("common.tensorboard_logdir")
    wandb_project: Optional[str] = II("common.wandb_project")


class DistillationTask(FairseqTask):
    """Start-up, batches and training steps, for any kind of data.

    fairseq calls `setup_task`, `build_model` and `build_criterion`, in this order. Their steps are, from top to bottom:

        setup_task       1  read the config and the vocabulary
        build_model      2  read the teacher's checkpoint, or the identity of its cache
                         3  find the checkpoint that the student is initialised from, which decides its sizes
                         4  build the student, and copy its weights
        build_criterion  5  build the criterion from a `DistillationContext`
                         6  check everything that would prevent training
                         7  load the teacher for the wanted signals
                         8  freeze the parameters that no loss depends on
                         9  log the summary

    A subclass loads one kind of data, and overrides the methods below `max_positions`.
    """

    # Flags that decide the rows of the training set, or their order.
    row_flags: tuple[str, ...] = ("data", "train_subset", "seed")

    # Whether fairseq's dummy batches have a weight (see `train_step`, and `fairseq_compat`).
    dummy_batches_count = False

    def __init__(
        self, cfg: DistillationTaskConfig, data: DataRequirements, objective: SentenceLabels | MaskedWords
    ) -> None:
        super().__init__(cfg)
        error = precision_error(cfg)
        if error:
            raise CannotStart(error)
        self.data = data
        self.objective = objective
        self.source: Optional[TeacherSource] = None
        self.context: Optional[DistillationContext] = None
        self.student_shape: Optional[ModelShape] = None
        self.initialized: list[str] = []
        self.resumed: Optional[ResumedRun] = None
        self.criterion: Optional[DistillationCriterion] = None
        self.peak_gb = 0.0

    @property
    def shards(self) -> int:
        """Number of parts of the training data; each epoch reads one."""
        return 1

    @property
    def teacher(self) -> Optional[Teacher]:
        """The loaded teacher; None if there is none, or before `build_criterion`."""
        return None if self.context is None else self.context.teacher

    @property
    def dictionary(self) -> Dictionary:
        """The vocabulary of the data."""
        return self.data.dictionary

    source_dictionary = target_dictionary = dictionary

    @property
    def predicts_words(self) -> bool:
        """Whether the student has a masked-LM head instead of a classification head."""
        return self.data.head is None

    def build_model(self, cfg: DictConfig, from_checkpoint: bool = False) -> nn.Module:
        """Read the teacher, find the student's initialisation, and return the new student: steps 2 to 4.

        The sizes of the student are written into `cfg`, which fairseq saves with the weights.

        from_checkpoint  the caller loads the weights, as fairseq-validate does; steps 2 and 3 are omitted
        """
        if from_checkpoint:
            return self._new_student(cfg, from_checkpoint)

        keep_freed_memory()
        self.source = TeacherSource.read(self.cfg, self.data)  # step 2
        found = find_initialization(cfg, self.source.checkpoint, self.data)  # step 3
        student = self._new_student(cfg, from_checkpoint)  # step 4
        self.initialized = found.apply(student, self.data.head)
        self.resumed = found.resumed
        choose_bf16_products(self.cfg, self.resumed.checkpoint.run.get("task") if self.resumed else None)
        with open_dict(cfg):
            cfg.update(self.saved_settings())
        return student

    def _new_student(self, cfg: DictConfig, from_checkpoint: bool) -> nn.Module:
        self.check_positions(
            f"the student takes (--max-positions {cfg.get('max_positions')})", cfg.get("max_positions")
        )
        self.data.check_pair_format(cfg.get("pair_format"))
        # A model that the caller loads keeps the order of its logits.
        self.data.check_order_of_model(tuple(cfg.get("class_names") or ()))
        student = super().build_model(cfg, from_checkpoint)
        if self.data.head is not None:
            student.register_classification_head(self.data.head, self.data.classes)
        self.student, self.student_shape = student, student.shape
        return student

    def build_criterion(self, cfg: DictConfig) -> FairseqCriterion:
        """Return the criterion; check it, load the teacher and freeze unused parameters: steps 5 to 9.

        Criterions of other packages get neither checks nor a teacher.

        Raises CannotStart if a term cannot be computed, or if flags conflict.
        """
        _check_trackers(self.cfg)
        if self.source is None:  # the student was loaded from a checkpoint
            self.source = TeacherSource.read(self.cfg, self.data)
        source = self.source
        self.context = self.new_context(self.student_shape, self.student)
        criterion = super().build_criterion(cfg)  # step 5
        if not isinstance(criterion, DistillationCriterion):
            warn_unused(source.unused_cache(cfg._name))
            return criterion

        self._check(criterion, cfg)  # step 6

        wanted, unused_cache = criterion.teacher_wanted, []
        if wanted:
            self.check_positions(
                f"{source.name} takes ({source.shape.max_positions} tokens)", source.shape.max_positions
            )
            self.check_cacheable()
            self.context.teacher = source.load(wanted)  # step 7
            source.log_warnings(wanted, not self.cfg.cpu and in_16_bits(self.cfg))
        else:
            unused_cache = source.unused_cache(cfg._name)
        warn_unused(criterion.unused + unused_cache)

        frozen = self.student.freeze_unreached(criterion.student_wanted, self.data.head)  # step 8
        criterion.start(self.student)
        self.criterion = criterion
        logger.info("\n  ".join(self._summary(criterion, frozen)))  # step 9
        return criterion

    def new_context(
        self, student_shape: ModelShape, student: Optional[nn.Module] = None
    ) -> DistillationContext:
        """Return the context of a criterion for a student of this shape."""
        return DistillationContext(
            objective=self.objective,
            student_shape=student_shape,
            teacher_shape=self.source.shape,
            logits_error=self.source.logits_error(),
            head=self.data.head,
            data=self.cfg.data,
            train_subset=self.cfg.train_subset,
            train_labels=self.train_labels,
            autocast=partial(student_autocast, autocast=str(self.cfg.autocast)),
            student=student,
        )

    def _check(self, criterion: DistillationCriterion, cfg: DictConfig) -> None:
        """Raise CannotStart for all errors of the criterion and its flags."""
        errors = criterion.errors or list(_best_checkpoint_errors(self.cfg, criterion.metric_names()))
        saved = (self.resumed and self.resumed.checkpoint.criterion) or {}
        if saved:
            if saved.get("_name") == cfg._name:
                before, now = criterion.resume_critical(saved), criterion.resume_critical(cfg)
            else:
                before, now = {"--criterion": saved.get("_name")}, {"--criterion": cfg._name}
            errors = [*errors, *self.resumed.changed_flags(before, now)]
        if errors:
            raise CannotStart(*errors, doing="start distillation")

    def _summary(self, criterion: DistillationCriterion, frozen: Sequence[str]) -> Iterable[str]:
        trained = sum(p.numel() for p in self.student.parameters() if p.requires_grad)
        yield "Distillation"
        yield f"student   {self.student_shape}; {trained:,} parameters trained"
        yield f"teacher   {self.source.shape or 'none'}"
        yield "init      " + "\n            ".join(self.initialized or ["loaded from a checkpoint"])
        yield from criterion.describe()
        if frozen:
            yield f"frozen    {len(frozen)} tensors that no loss depends on, such as {frozen[0]}"

    def max_positions(self) -> Optional[int]:
        """Return the maximum tokens of the student's input; None before it is built."""
        return None if self.student_shape is None else self.student_shape.max_positions

    def check_positions(self, model: str, longest: Optional[int]) -> None:
        """Raise CannotStart if the data needs longer inputs than a model takes.

        model    the model and its limit, for the error message
        longest  maximum tokens of its input; None if unknown
        """

    def check_cacheable(self) -> None:
        """Raise CannotStart if there is a teacher cache, but the teacher's signals differ between epochs."""

    def saved_settings(self) -> dict[str, Any]:
        """Return the properties of the data that are saved in the student's model config."""
        return {"dictionary_hash": self.data.dictionary_hash}

    def train_labels(self) -> Optional[np.ndarray]:
        """Return the class numbers of the training set, [N]; None without labels."""
        return None

    def attach_cache(
        self, dataset: SequenceDataset, split: str, files: Sequence[Path], settings: Mapping[str, Any]
    ) -> None:
        """If there is a teacher cache, let a data set read the stored signals of its rows (`CachedTeacher.attach`)."""
        if isinstance(self.teacher, CachedTeacher):
            self.teacher.attach(dataset, split, files, settings)

    def get_batch_iterator(
        self,
        dataset: SequenceDataset,
        max_tokens: Optional[int] = None,
        max_sentences: Optional[int] = None,
        max_positions: Optional[int] = None,
        ignore_invalid_inputs: bool = False,
        required_batch_size_multiple: int = 1,
        **kwargs: Any,
    ) -> EpochBatchIterator:
        """Return fairseq's iterator; that of the training set can resume with other batches (see `data/epoch_position.py`).

        fairseq first calls this when all splits are loaded, so a teacher cache then allocates its files.
        """
        if isinstance(self.teacher, CachedTeacher):
            self.teacher.allocate()
        sizes = {
            "max_tokens": max_tokens,
            "max_sentences": max_sentences,
            "required_batch_size_multiple": required_batch_size_multiple,
        }
        iterator = super().get_batch_iterator(
            dataset,
            max_positions=max_positions,
            ignore_invalid_inputs=ignore_invalid_inputs,
            **sizes,
            **kwargs,
        )
        if dataset is not self.datasets.get(self.cfg.train_subset):
            return iterator
        settings: dict[str, Any] = {flag_name(name): str(self.cfg[name]) for name in self.row_flags}
        settings |= {
            "--batch-size": max_sentences,
            "--max-tokens": max_tokens,
            "--update-freq": ",".join(map(str, self.cfg.update_freq)),
            "number of workers": iterator.num_shards,
        }
        make_batches = partial(dataset.batch_by_size, **sizes)
        return ResumableEpochs.of(iterator, make_batches, settings, self.shards > 1)

    def train_step(
        self, sample: Mapping[str, Any], *args: Any, ignore_grad: bool = False, **kwargs: Any
    ) -> tuple[Any, int, dict[str, Any]]:
        """Make fairseq's training step. Dummy batches (`ignore_grad`), of any split, have no weight.

        The criterion finds `dummy` in the batch. Logs `peak_gb`, the peak memory in GiB.
        """
        done = super().train_step({**sample, "dummy": ignore_grad}, *args, ignore_grad=ignore_grad, **kwargs)
        peak = peak_memory(done[0].device)
        if peak is not None:
            self.peak_gb = max(self.peak_gb, peak)
            metrics.log_scalar("peak_gb", self.peak_gb, weight=0, priority=1500, round=2)
        if ignore_grad:
            loss, _, logged = done
            return loss, 0, {name: value * 0 for name, value in logged.items()}
        return done

    def optimizer_step(self, optimizer: FairseqOptimizer, model: nn.Module, update_num: int) -> None:
        """Update the weights; fairseq only calls this if no gradient overflowed."""
        if self.criterion is not None:
            self.criterion.before_update(optimizer)
        drop_frozen_gradients(optimizer)
        super().optimizer_step(optimizer, model, update_num)

    def begin_epoch(self, epoch: int, model: nn.Module) -> None:
        if self.criterion is not None:
            self.criterion.begin_epoch()

    def begin_valid_epoch(self, epoch: int, model: nn.Module) -> None:
        reset_meters("valid")


def _best_checkpoint_errors(cfg: DistillationTaskConfig, logged: set[str]) -> Iterable[str]:
    """Yield an error message if fairseq would keep the wrong best checkpoint.

    logged  names of the values that every validation logs
    """
    metric, maximize = cfg.best_checkpoint_metric, cfg.maximize_best_checkpoint_metric
    given, flag = f"--best-checkpoint-metric {metric}", "--maximize-best-checkpoint-metric"
    if metric not in logged:
        yield f"{given} is not logged here: choose from {', '.join(sorted(logged))}."
    elif maximize and metric not in HIGHER_IS_BETTER:
        yield f"{given} is better if lower, so {flag} would keep the worst checkpoint: remove that flag."
    elif not maximize and metric in HIGHER_IS_BETTER:
        yield f"{given} is better if higher, so the worst checkpoint would be kept: add {flag}."


def _check_trackers(cfg: DistillationTaskConfig) -> None:
    """Raise CannotStart without the package of a given tracker; fairseq would train on without logging to it."""
    for tracker, given, packages in (
        ("--tensorboard-logdir", cfg.tensorboard_logdir, ("tensorboard", "tensorboardX")),
        ("--wandb-project", cfg.wandb_project, ("wandb",)),
    ):
        if given and not any(map(importlib.util.find_spec, packages)):
            raise CannotStart(
                f"{tracker} {given} needs a package that is not installed: `pip install {packages[0]}`, or remove the flag."
            )
