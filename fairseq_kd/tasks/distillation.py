"""What all distillation tasks share: the teacher, the student's beginnings, the checks before training."""

import contextlib
import hashlib
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Optional

import torch
from fairseq.data import Dictionary
from fairseq.dataclass import ChoiceEnum, FairseqDataclass
from fairseq.logging import metrics
from fairseq.optim import FairseqOptimizer
from fairseq.tasks import FairseqTask
from omegaconf import II, open_dict

from ..data.cache import PRECISIONS, Identity
from ..data.cache.files import hash_of
from ..data.sequences import SequenceDataset
from ..errors import CannotStart
from ..memory import peak_memory
from ..metrics import forget
from ..models.checkpoint import Checkpoint, read_checkpoint
from ..models.initialization import initialization
from ..models.shape import ModelShape
from ..signals import Wanted
from ..summary import summary
from ..teachers import LiveTeacher
from ..teachers.cached import CachedTeacher

logger = logging.getLogger(__name__)

# What decides the parameters and the state of a criterion: a run that is resumed cannot change it.
SETTLED = {name: "--" + name.replace("_", "-") for name in ("mapping", "sda_window", "sda_form")}
SETTLED["_name"] = "--criterion"


@dataclass
class DistillationTaskConfig(FairseqDataclass):
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
    teacher_cache: Optional[str] = field(
        default=None,
        metadata={
            "help": "folder in which the teacher's signals are stored: those that are not there yet are written in the "
            "first epoch (or by scripts/cache_teacher.py), then read instead of asking the teacher, by all runs that name "
            "it; without --teacher, all have to be there (default: none)"
        },
    )
    cache_precision: ChoiceEnum(list(PRECISIONS)) = field(
        default="fp16", metadata={"help": "of what is stored there (default: fp16)"}
    )
    autocast: ChoiceEnum(["none", "bf16"]) = field(
        default="none",
        metadata={
            "help": "run the student's matrix products in bf16, on CPU or GPU; weights, optimizer and losses stay "
            "fp32 (default: none)"
        },
    )
    seed: int = II("common.seed")
    train_subset: str = II("dataset.train_subset")
    best_checkpoint_metric: str = II("checkpoint.best_checkpoint_metric")
    cpu: bool = II("common.cpu")
    bf16: bool = II("common.bf16")


class DistillationTask(FairseqTask):
    """Holds the teacher and what is known of the student, for criterions to ask.

    A task adds its data, the student's heads (`add_heads`), what its data asks of a model
    (`check_student`, `warn_of_teacher`), and what a checkpoint says of where it comes from (`learned_here`).
    """

    # How many parts the training data has, of which each epoch reads one.
    shards = 1

    # The classification head's name; None for a task without classes.
    head: Optional[str] = None

    # What fills up a worker's turn counts for nothing here (see `train_step`, and `fairseq_compat`).
    fillers_count = False

    def __init__(self, cfg: DistillationTaskConfig, dictionary: Dictionary, dictionary_hash: str) -> None:
        """dictionary_hash tells vocabularies apart (see `data/metadata.py`)."""
        super().__init__(cfg)
        if cfg.bf16 and cfg.cpu:
            raise CannotStart("--bf16 with --cpu takes fairseq's way for TPUs: give --autocast bf16 instead.")
        self.dictionary = dictionary
        self.dictionary_hash = dictionary_hash
        self.student_shape: Optional[ModelShape] = None
        self.initialized: list[str] = []
        self.resumed: Optional[Checkpoint] = None
        self.labels_for: list[str] = []
        self.teacher: LiveTeacher | CachedTeacher | None = None
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

    def warn_of_teacher(self) -> None:
        """Says what is odd about the teacher, where that is allowed."""

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
            source = initialization(cfg, self.teacher_checkpoint, self.pair_format)
        self.check_vocabulary(source.source if source else None, "--init-from")
        self.check_student(cfg)

        model = super().build_model(cfg, from_checkpoint)
        self.add_heads(model)
        self.student, self.student_shape = model, model.shape
        if source is not None:
            self.initialized = source.apply(model, self.head)
            self.resumed = source.source if source.resumed else None
            with open_dict(cfg):
                cfg.update(self.learned_here())
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
            self.teacher = self._load_teacher(criterion.teacher_wanted)
            if self.teacher_checkpoint is not None:
                self.warn_of_teacher()
        frozen = self.student.freeze_unreached(criterion.student_wanted, criterion.head)
        criterion.find_unreached(self.student)
        self.check_followed = criterion.stages.check_followed
        self.before_update = criterion.before_update
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

    @cached_property
    def known_teacher(self) -> Checkpoint | Identity | None:
        """What is known of the teacher: its checkpoint or, without `--teacher`, what its cache says."""
        if self.teacher_checkpoint is not None or self.cfg.teacher_cache is None:
            return self.teacher_checkpoint
        folder = Path(self.cfg.teacher_cache)
        there = Identity.read(folder)
        if there is None:
            raise CannotStart(
                f"--teacher-cache {folder} holds nothing yet: give --teacher, whose signals then go there."
            )
        there.check(folder, {"encoder": self.dictionary_hash, "length": self.data_length})
        return there

    @property
    def teacher_given(self) -> str:
        """How the command names the teacher."""
        if self.teacher_checkpoint is None:
            return f"--teacher-cache {self.cfg.teacher_cache}"
        return f"--teacher {self.teacher_checkpoint.path}"

    @property
    def teacher_shape(self) -> Optional[ModelShape]:
        return None if self.known_teacher is None else self.known_teacher.shape

    @property
    def data_length(self) -> Optional[int]:
        """To how many tokens examples were cut; None where the data does not say."""
        raise NotImplementedError

    def check_cacheable(self) -> None:
        """Raises CannotStart where the teacher's signals change from epoch to epoch."""

    def teacher_missing(self, what: str) -> str:
        """The sentence that says that `what` cannot do without a teacher."""
        return f"{what} learns from a teacher and none was given: give --teacher CHECKPOINT."

    def check_vocabulary(self, checkpoint: Optional[Checkpoint], flag: str) -> None:
        """Raises CannotStart when the model numbers its words differently from the data."""
        if checkpoint is None:
            return
        if checkpoint.words != len(self.dictionary):
            raise CannotStart(
                f"{flag} {checkpoint.path} knows {checkpoint.words} words, but the data in {self.cfg.data} uses "
                f"{len(self.dictionary)}: make the data again with this model's vocabulary (--encoder-dir)."
            )
        if checkpoint.dictionary_hash not in (None, self.dictionary_hash):
            raise CannotStart(
                f"{flag} {checkpoint.path} numbers its words differently from the data in {self.cfg.data} (their "
                "dict.txt differ): make the data again with this model's vocabulary (--encoder-dir)."
            )

    def _other_criterion(self, cfg) -> list[str]:
        """Why the run in --save-dir cannot go on with this criterion; nothing where it can."""
        before = (self.resumed and self.resumed.criterion) or {}
        return [
            f"the run in {self.resumed.path.parent} was begun with {flag} {before[name]}, now {cfg[name]}: give another "
            "--save-dir, or the settings of that run to go on with it."
            for name, flag in SETTLED.items()
            if name in before and name in cfg and before[name] != cfg[name]
        ]

    def _load_teacher(self, wanted: Wanted) -> LiveTeacher | CachedTeacher:
        if self.cfg.teacher_cache is None:
            return self._live_teacher()

        self.check_cacheable()
        folder, known, load = Path(self.cfg.teacher_cache), self.known_teacher, None
        if isinstance(known, Checkpoint):
            known, load = self._identity(known), self._live_teacher
            known.claim(folder)
        words = getattr(self, "predicts_words", False)
        return CachedTeacher(folder, known, wanted, str(self.cfg.cache_precision), words, load)

    def _live_teacher(self) -> LiveTeacher:
        return LiveTeacher(
            self.teacher_checkpoint,
            self.dictionary,
            self.head,
            self.cfg.teacher_device,
            self.cfg.teacher_precision,
        )

    def _identity(self, teacher: Checkpoint) -> Identity:
        head = self.head if self.head is not None and teacher.head(self.head) else None
        return Identity(
            teacher=hash_of([teacher.path]),
            precision=str(self.cfg.teacher_precision),
            head=head,
            encoder=self.dictionary_hash,
            length=self.data_length,
            shape=teacher.shape,
            num_classes=None if head is None else teacher.classes(head),
            has_lm_head=teacher.has_lm_head,
        )

    def serve_teacher(
        self, dataset: SequenceDataset, split: str, stored: Sequence[Path], settings: Mapping[str, Any]
    ) -> None:
        """Lets a data set read the teacher's signals of its rows, where there is a cache.

        split     its name, and its shard
        stored    the files it is read from
        settings  what else decides its tokens
        """
        if isinstance(self.teacher, CachedTeacher):
            decided = json.dumps([hash_of(list(stored)), dict(settings)], sort_keys=True)
            self.teacher.serve(dataset, split, hashlib.sha256(decided.encode()).hexdigest())

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
        super().optimizer_step(optimizer, model, update_num)

    def autocast(self, sample: Mapping[str, Any]) -> contextlib.AbstractContextManager:
        """The student's precision, as `--autocast` says."""
        if self.cfg.autocast == "none":
            return contextlib.nullcontext()
        return torch.autocast(sample["net_input"]["src_tokens"].device.type, dtype=torch.bfloat16)

    def begin_epoch(self, epoch: int, model) -> None:
        self.check_followed()

    def begin_valid_epoch(self, epoch: int, model) -> None:
        forget("valid")


def stored_files(path: Path, combine: bool) -> list[Path]:
    """The files that fairseq reads a split from: `path`.idx and .bin and, combined, `path`1.idx, .."""
    parts = [path]
    while combine and path.with_name(f"{path.name}{len(parts)}.idx").is_file():
        parts.append(path.with_name(f"{path.name}{len(parts)}"))
    return [part.with_name(part.name + suffix) for part in parts for suffix in (".idx", ".bin")]
