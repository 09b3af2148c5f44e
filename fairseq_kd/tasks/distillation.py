"""What all distillation tasks share: the teacher, the student's beginnings, the checks before training."""

import contextlib
import importlib.util
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Optional

import torch
from fairseq.data import Dictionary
from fairseq.data.iterators import EpochBatchIterator
from fairseq.dataclass import ChoiceEnum
from fairseq.logging import metrics
from fairseq.optim import FairseqOptimizer
from omegaconf import II, open_dict

from ..data.epoch_position import ResumableEpochs
from ..data.sequences import SequenceDataset
from ..errors import CannotStart
from ..memory import peak_memory
from ..metrics import reset_meters
from ..models.checkpoint import Checkpoint
from ..models.initialization import check_arch, initialization
from ..models.resume import ResumedRun
from ..models.shape import ModelShape
from ..optim import drop_frozen_gradients
from ..signals import Wanted
from ..summary import summary
from ..unused_flags import warn_unused
from . import best_checkpoint, precision, teacher_device
from .precision import PrecisionFlags
from .teaching import TaskWithTeacher, TeacherFlags

logger = logging.getLogger(__name__)


@dataclass
class DistillationTaskConfig(PrecisionFlags, TeacherFlags):
    autocast: ChoiceEnum(["none", "bf16"]) = field(
        default="none",
        metadata={
            "help": "run the student's matrix products in bf16, on CPU or GPU; weights, optimizer and losses stay "
            "fp32 (default: none)"
        },
    )
    seed: int = II("common.seed")
    train_subset: str = II("dataset.train_subset")
    max_tokens: Optional[int] = II("dataset.max_tokens")
    max_tokens_valid: Optional[int] = II("dataset.max_tokens_valid")
    update_freq: list[int] = II("optimization.update_freq")
    best_checkpoint_metric: str = II("checkpoint.best_checkpoint_metric")
    maximize_best_checkpoint_metric: bool = II("checkpoint.maximize_best_checkpoint_metric")
    tensorboard_logdir: Optional[str] = II("common.tensorboard_logdir")


class DistillationTask(TaskWithTeacher):
    """Holds the teacher and what is known of the student, for criterions to ask.

    A task adds its data, the student's heads (`add_heads`), what its data asks of a model (`check_student`,
    `check_teacher`, `warn_of_teacher`), and what a checkpoint says of where it comes from (`learned_here`).
    """

    # How many parts the training data has, of which each epoch reads one.
    shards = 1

    # Flags that decide the rows of the training set, or their order.
    row_flags: tuple[str, ...] = ("data", "train_subset", "seed")

    # The classification head's name; None for a task without classes.
    head: Optional[str] = None

    # What fills up a worker's turn counts for nothing here (see `train_step`, and `fairseq_compat`).
    fillers_count = False

    def __init__(self, cfg: DistillationTaskConfig, dictionary: Dictionary, dictionary_hash: str) -> None:
        """dictionary_hash tells vocabularies apart (see `data/metadata.py`)."""
        super().__init__(cfg)
        unfit = precision.problem(cfg)
        if unfit:
            raise CannotStart(unfit)
        self.dictionary = dictionary
        self.dictionary_hash = dictionary_hash
        self.student_shape: Optional[ModelShape] = None
        self.initialized: list[str] = []
        self.resumed: Optional[ResumedRun] = None
        self.labels_for: list[str] = []
        self.peak_gb = 0.0
        # Other people's criterions follow no time budget.
        self.check_followed: Callable[[], None] = lambda: None
        self.before_update: Callable[[FairseqOptimizer], None] = lambda optimizer: None

    @property
    def source_dictionary(self) -> Dictionary:
        return self.dictionary

    @property
    def target_dictionary(self) -> Dictionary:
        return self.dictionary

    @property
    def pair_format(self) -> str:
        """How a student made from nothing would join two sentences."""
        raise NotImplementedError

    def add_heads(self, model) -> None:
        """Gives the newly built student what answers this task's question."""

    def check_student(self, cfg) -> None:
        """Raises CannotStart when a student of this model config cannot read the data."""

    def check_teacher(self) -> None:
        """Raises CannotStart when the teacher, who is asked, cannot read the data."""

    def warn_of_teacher(self, wanted: Wanted) -> None:
        """Says what is odd about the teacher, where that is allowed; wanted: all that is asked of it."""

    def check_order(self, checkpoint: Checkpoint, flag: str) -> None:
        """Raise CannotStart if the checkpoint's classes cannot be matched with the data's; warn if it names none."""

    def check_resumed_order(self, checkpoint: Checkpoint, flag: str) -> None:
        """Raise CannotStart if the run to resume was trained on data with another order of classes."""

    def unused_flags(self, wanted: Wanted) -> list[str]:
        """Return the task's flags without effect, if these are the student's wanted signals; see `unused_flags.py`."""
        return self.unused_teacher_flags()

    def learned_here(self) -> dict[str, Any]:
        """What the student's model config keeps of this task, for those who load it later."""
        return {"dictionary_hash": self.dictionary_hash}

    def max_positions(self) -> Optional[int]:
        return None if self.student_shape is None else self.student_shape.max_positions

    def build_model(self, cfg, from_checkpoint: bool = False):
        """Builds the student; initialises it unless it is being loaded from a checkpoint.

        The sizes it ends up with are written into `cfg`, which fairseq saves with the weights.
        """
        source = None
        if not from_checkpoint:
            check_arch(cfg)
            source = initialization(cfg, self.teacher_checkpoint, self.pair_format, self.head is not None)
            if source.resumed:
                self.check_resumed_order(source.source, source.resumed.flag)
            if source.head:
                self.check_order(source.source, "--init-from")
                source = replace(source, source=self.in_order(source.source, "--init-from"))
        self.check_vocabulary(source.source if source else None, "--init-from")
        self.check_student(cfg)

        model = super().build_model(cfg, from_checkpoint)
        self.add_heads(model)
        self.student, self.student_shape = model, model.shape
        if source is not None:
            self.initialized = source.apply(model, self.head)
            self.resumed = source.resumed
            with open_dict(cfg):
                cfg.update(self.learned_here())
        return model

    def build_criterion(self, cfg):
        """Builds the criterion and checks, before any training, that all its terms can be had."""
        _check_tensorboard(self.cfg.tensorboard_logdir)
        criterion = super().build_criterion(cfg)
        if not hasattr(criterion, "problems"):
            warn_unused(self.unused_teacher_flags() + self.unused_cache(cfg._name))
            return criterion
        problems = criterion.problems
        if not problems:
            chosen = (self.cfg.best_checkpoint_metric, self.cfg.maximize_best_checkpoint_metric)
            problems += best_checkpoint.problems(*chosen, criterion.logged())
        problems += self._other_criterion(criterion, cfg)
        if problems:
            raise CannotStart(*problems, doing="start distillation")
        self.labels_for = criterion.labels_for()

        if criterion.teacher_wanted:
            self.check_teacher()
            self.teacher = self.load_teacher(criterion.teacher_wanted)
            if self.teacher_checkpoint is not None:
                self.warn_of_teacher(criterion.teacher_wanted)
                for warning in teacher_device.warnings(self.cfg, self.teacher_precision):
                    logger.warning(warning)
        else:
            criterion.unused += self.unused_cache(cfg._name)
        warn_unused(criterion.unused + self.unused_flags(criterion.student_wanted))
        frozen = self.student.freeze_unreached(criterion.student_wanted, criterion.head)
        criterion.find_unreached(self.student)
        self.check_followed = criterion.stages.check_followed
        self.before_update = criterion.before_update
        logger.info(
            summary(self.student_shape, self.teacher_shape, self.initialized, criterion, self.student, frozen)
        )
        return criterion

    def _other_criterion(self, criterion, cfg) -> list[str]:
        """Why the run that goes on cannot do so with this criterion; nothing where it can."""
        saved = (self.resumed and self.resumed.checkpoint.criterion) or {}
        if not saved:
            return []
        if saved.get("_name") != cfg._name:
            before, now = {"--criterion": saved.get("_name")}, {"--criterion": cfg._name}
        else:
            before, now = criterion.settled(saved), criterion.settled(cfg)
        return list(self.resumed.changed(before, now))

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
        """As fairseq's; the training set's can be resumed with other batches (see `data/epoch_position.py`)."""
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
        settings = {f"--{name.replace('_', '-')}": str(self.cfg[name]) for name in self.row_flags}
        settings |= {
            "--batch-size": max_sentences,
            "--max-tokens": max_tokens,
            "--update-freq": ",".join(map(str, self.cfg.update_freq)),
            "number of workers": iterator.num_shards,
        }
        cut = partial(dataset.batch_by_size, **sizes)
        return ResumableEpochs.of(iterator, cut, settings, self.cfg.update_freq, self.shards > 1)

    def train_step(self, sample, *args, ignore_grad: bool = False, **kwargs):
        """As fairseq's. Batches that only fill up a worker's turn, of whatever split, count for nothing.

        The criterion is told which these are. Logs `peak_gb`, the most memory needed so far, in GiB.
        """
        done = super().train_step({**sample, "filler": ignore_grad}, *args, ignore_grad=ignore_grad, **kwargs)
        peak = peak_memory(done[0].device)
        if peak is not None:
            self.peak_gb = max(self.peak_gb, peak)
            metrics.log_scalar("peak_gb", self.peak_gb, weight=0, priority=1500, round=2)
        if ignore_grad:
            loss, _, logged = done
            return loss, 0, {name: value * 0 for name, value in logged.items()}
        return done

    def optimizer_step(self, optimizer: FairseqOptimizer, model, update_num: int) -> None:
        """As fairseq's, which calls it only where no gradient overflowed."""
        self.before_update(optimizer)
        drop_frozen_gradients(optimizer)
        super().optimizer_step(optimizer, model, update_num)

    def autocast(self, sample: Mapping[str, Any]) -> contextlib.AbstractContextManager:
        """The student's precision, as `--autocast` says."""
        if self.cfg.autocast == "none":
            return contextlib.nullcontext()
        return torch.autocast(sample["net_input"]["src_tokens"].device.type, dtype=torch.bfloat16)

    def begin_epoch(self, epoch: int, model) -> None:
        self.check_followed()

    def begin_valid_epoch(self, epoch: int, model) -> None:
        reset_meters("valid")


def _check_tensorboard(logdir: Optional[str]) -> None:
    """Raise CannotStart without the package that writes the log; fairseq would train on without a log."""
    packages = ("tensorboard", "tensorboardX")
    if logdir and not any(map(importlib.util.find_spec, packages)):
        raise CannotStart(
            f"--tensorboard-logdir {logdir} needs a package that is not installed: run `pip install tensorboard`, or leave "
            "the flag out."
        )
