"""Finds the teacher of `--teacher` and `--teacher-cache`, and loads it for the wanted signals."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

import torch
from fairseq.dataclass import ChoiceEnum, FairseqDataclass

from ..context import teacher_missing
from ..data.cache import Identity, hash_files
from ..errors import CannotStart
from ..flags import flag, unused
from ..models.checkpoint import Checkpoint, read_checkpoint
from ..models.data_requirements import DataRequirements
from ..models.shape import LM_HEAD, ModelShape
from ..precisions import BF16_PRODUCTS, PRECISIONS, SLOW
from ..signals import Wanted
from .cached import CachedTeacher
from .live import LiveTeacher

logger = logging.getLogger(__name__)


@dataclass
class TeacherFlags(FairseqDataclass):
    teacher: Optional[str] = flag(
        None,
        "the teacher's checkpoint: a file, or a folder with checkpoint_best.pt or model.pt "
        "(default: none, for losses that need no teacher)",
    )
    teacher_device: Optional[str] = flag(
        None, "device of the teacher, such as cuda:1 or cpu (default: the device of the student)"
    )
    teacher_precision: Optional[ChoiceEnum(list(PRECISIONS))] = flag(
        None,
        "precision of the teacher's weights and signals (default: fp32; without --teacher, that of "
        "--teacher-cache)",
    )
    bf16_products: ChoiceEnum(list(BF16_PRODUCTS)) = flag(
        "auto",
        "how --autocast bf16 and --teacher-precision bf16 compute matrix products: auto is fp32 on a CPU where bf16 takes "
        f"over {SLOW:g} times as long as fp32, else bf16; a resumed run keeps its first choice (default: auto)",
    )
    teacher_cache: Optional[str] = flag(
        None,
        "folder that stores the teacher's signals: missing ones are written in the first epoch (or by "
        "scripts/cache_teacher.py), then all runs that name the folder read them instead of running the teacher; "
        "without --teacher, the cache must be complete (default: none)",
    )
    cache_precision: Optional[ChoiceEnum(list(PRECISIONS))] = flag(
        None, "precision of the stored signals (default: fp16)"
    )


@dataclass(frozen=True)
class TeacherSource:
    """The teacher of a run before it is loaded: its checkpoint, or without `--teacher` the identity of its cache.

    flags       the config of the task
    data        requirements of the data
    checkpoint  checkpoint of `--teacher`; None without that flag
    cached      identity of the cache if there is no `--teacher`; None otherwise
    """

    flags: TeacherFlags
    data: DataRequirements
    checkpoint: Optional[Checkpoint] = None
    cached: Optional[Identity] = None

    @classmethod
    def read(cls, flags: TeacherFlags, data: DataRequirements) -> "TeacherSource":
        """Read the teacher's checkpoint, with its classes in the order of the data, or the identity of its cache.

        Raises CannotStart if the file is not a checkpoint, or if teacher or cache do not fit the data.
        """
        if flags.teacher is not None:
            checkpoint = read_checkpoint(flags.teacher, "--teacher")
            data.check_vocabulary(checkpoint, "--teacher")
            return cls(flags, data, checkpoint=data.reordered(checkpoint, "--teacher"))
        if flags.teacher_cache is not None:
            return cls(flags, data, cached=_read_cache(Path(flags.teacher_cache), flags, data))
        return cls(flags, data)

    @property
    def checkpoint_or_cache(self) -> Checkpoint | Identity | None:
        """The checkpoint or the identity of the cache; both have shape, classes and heads. None without a teacher."""
        return self.checkpoint or self.cached

    @property
    def shape(self) -> Optional[ModelShape]:
        """Shape of the teacher; None without a teacher."""
        return None if self.checkpoint_or_cache is None else self.checkpoint_or_cache.shape

    @property
    def name(self) -> str:
        """The flag that names the teacher, and its value."""
        if self.checkpoint is None:
            return f"--teacher-cache {self.flags.teacher_cache}"
        return f"--teacher {self.checkpoint.path}"

    @property
    def precision(self) -> str:
        """Precision of the live teacher."""
        return str(self.flags.teacher_precision or "fp32")

    @property
    def in_fp32(self) -> bool:
        """Whether a teacher in bf16 computes in fp32, with its weights in bf16 (`--bf16-products`)."""
        return self.precision == "bf16" and str(self.flags.bf16_products) == "fp32"

    def logits_error(self) -> Optional[str]:
        """Return an error message if the teacher's logits cannot be used as targets on this data, else None."""
        if self.checkpoint_or_cache is None:
            return teacher_missing("--soft-weight above 0")
        if self.data.head is None:
            if self.checkpoint_or_cache.has_lm_head:
                return None
            return (
                f"{self.name} has no masked-LM head, but --soft-weight above 0 needs its word scores: set "
                "--soft-weight 0 and use a method with terms of its own, or use a teacher with that head."
            )

        classes = self.checkpoint_or_cache.classes(self.data.head)
        if classes is None:
            return (
                f"{self.name} has no classification head {self.data.head}, but --soft-weight above 0 needs its logits: "
                "fine-tune it on the task first (scripts/finetune_teacher.py), or set --soft-weight 0."
            )
        if classes != self.data.classes:
            return (
                f"{self.name} has {classes} classes, but {self.data.path} has {self.data.classes}: use a teacher "
                "that was fine-tuned on this task."
            )
        return None if self.checkpoint is None else self.data.order_error(self.checkpoint, "--teacher")

    def load(self, wanted: Wanted) -> LiveTeacher | CachedTeacher:
        """Return the teacher; `wanted` are all signals that will ever be requested of it."""
        if self.flags.teacher_cache is None:
            return self._live()
        folder, identity, load, head_size = Path(self.flags.teacher_cache), self.cached, None, 0
        if self.checkpoint is not None:
            identity, load, head_size = self._identity(), self._live, self._lm_head_size()
            identity.agree(folder)
        precision = str(self.flags.cache_precision or "fp16")
        words = self.data.head is None
        return CachedTeacher(folder, identity, wanted, precision, words, load, head_size, self.in_fp32)

    def log_warnings(self, wanted: Wanted, student_in_16_bits: bool) -> None:
        """Log warnings about the checkpoint of a teacher that is used.

        student_in_16_bits  whether the student computes in 16 bits on a GPU
        """
        if self.checkpoint is None:
            return
        if wanted.logits:
            self.data.warn_of_unknown_order(self.checkpoint, "--teacher")
        trained_on = self.checkpoint.config.get("fine_tuned_on")
        if self.data.name is not None and trained_on not in (None, self.data.name):
            logger.warning(
                f"{self.name} was fine-tuned on {trained_on}, but {self.data.path} is {self.data.name}."
            )
        on_gpu = torch.device(self.flags.teacher_device or "cuda").type == "cuda"
        if student_in_16_bits and on_gpu and self.precision == "fp32" and self.flags.teacher_cache is None:
            logger.warning(
                "the teacher computes in fp32 and the student in 16 bits: --teacher-precision bf16 is faster, but its "
                "signals are less exact."
            )

    def unused_cache(self, criterion: str) -> list[str]:
        """Return the flag of the cache, if it is given, for a criterion that uses no teacher."""
        given = [] if self.flags.teacher_cache is None else ["--teacher-cache"]
        return unused(given, f"--criterion {criterion} with these weights uses no teacher")

    def _live(self) -> LiveTeacher:
        return LiveTeacher(
            self.checkpoint,
            self.data.dictionary,
            self.data.head,
            self.flags.teacher_device,
            self.precision,
            self.in_fp32,
        )

    def _identity(self) -> Identity:
        teacher, data = self.checkpoint, self.data
        head = data.head if data.head is not None and teacher.head(data.head) else None
        return Identity(
            teacher=hash_files([teacher.path]),
            precision=self.precision,
            head=head,
            encoder=data.dictionary_hash,
            length=data.length,
            shape=teacher.shape,
            num_classes=None if head is None else teacher.classes(head),
            has_lm_head=teacher.has_lm_head,
            class_names=data.class_names if head and teacher.class_names == data.class_names else (),
        )

    def _lm_head_size(self) -> int:
        """Return the bytes of the masked-LM head, which shares one or two matrices with the word embeddings."""
        weights = self.checkpoint.weights.items()
        numbers = sum(value.numel() for name, value in weights if name.startswith(LM_HEAD))
        return numbers * PRECISIONS[self.precision].itemsize


def _read_cache(folder: Path, flags: TeacherFlags, data: DataRequirements) -> Identity:
    cached = Identity.read(folder)
    if cached is None:
        raise CannotStart(f"--teacher-cache {folder} is empty: give --teacher, so that this run fills it.")
    wanted = {"encoder": data.dictionary_hash, "length": data.length}
    if cached.class_names and data.class_names:
        wanted["class_names"] = data.class_names
    if flags.teacher_precision is not None:
        wanted["precision"] = str(flags.teacher_precision)
    cached.check(folder, wanted)
    return cached
