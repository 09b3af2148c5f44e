"""Where a task's teacher comes from: a checkpoint, a cache of what it says, or both."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Optional

from fairseq.dataclass import ChoiceEnum, FairseqDataclass
from fairseq.tasks import FairseqTask

from ..data.cache import Identity, hash_files
from ..data.sequences import SequenceDataset
from ..errors import CannotStart
from ..models.checkpoint import Checkpoint, read_checkpoint
from ..models.shape import ModelShape
from ..precisions import PRECISIONS
from ..signals import Wanted
from ..teachers import LiveTeacher
from ..teachers.cached import CachedTeacher
from ..unused_flags import unused


@dataclass
class TeacherFlags(FairseqDataclass):
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
    teacher_precision: Optional[ChoiceEnum(list(PRECISIONS))] = field(
        default=None,
        metadata={
            "help": "precision of the teacher's weights and signals (default: fp32; without --teacher, the one in which "
            "--teacher-cache was written)"
        },
    )
    teacher_cache: Optional[str] = field(
        default=None,
        metadata={
            "help": "folder in which the teacher's signals are stored: those that are not there yet are written in the "
            "first epoch (or by scripts/cache_teacher.py), then read instead of asking the teacher, by all runs that name "
            "it; without --teacher, all have to be there (default: none)"
        },
    )
    cache_precision: Optional[ChoiceEnum(list(PRECISIONS))] = field(
        default=None, metadata={"help": "precision of what is stored there (default: fp16)"}
    )


class TaskWithTeacher(FairseqTask):
    """What is known of the teacher before it is loaded, and how it is.

    A task adds `dictionary` and `dictionary_hash`, the teacher's `head`, and what of its data decides whether
    signals can be stored (`data_length`, `check_cacheable`); its data sets are shown to `serve_teacher`.
    """

    # Whether logits are scores of words.
    predicts_words = False

    def __init__(self, cfg: TeacherFlags) -> None:
        super().__init__(cfg)
        self.teacher: LiveTeacher | CachedTeacher | None = None

    @cached_property
    def teacher_checkpoint(self) -> Optional[Checkpoint]:
        """The teacher as read from disk; None without `--teacher`."""
        if self.cfg.teacher is None:
            return None
        checkpoint = read_checkpoint(self.cfg.teacher, "--teacher")
        self.check_vocabulary(checkpoint, "--teacher")
        return self.in_order(checkpoint, "--teacher")

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
        wanted = {"encoder": self.dictionary_hash, "length": self.data_length}
        if there.class_names and self.class_names:
            wanted["class_names"] = self.class_names
        if self.cfg.teacher_precision is not None:
            wanted["precision"] = self.teacher_precision
        there.check(folder, wanted)
        return there

    @property
    def teacher_precision(self) -> str:
        """That of the live teacher."""
        return str(self.cfg.teacher_precision or "fp32")

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

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the data's classes in the order of their numbers; () without classes or names."""
        return ()

    def check_cacheable(self) -> None:
        """Raises CannotStart where the teacher's signals change from epoch to epoch."""

    def teacher_missing(self, what: str) -> str:
        """The sentence that says that `what` cannot do without a teacher."""
        return f"{what} learns from a teacher and none was given: give --teacher CHECKPOINT."

    def in_order(self, checkpoint: Checkpoint, flag: str) -> Checkpoint:
        """The model with its classes, if it tells any apart, numbered as the data numbers them."""
        return checkpoint

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

    def load_teacher(self, wanted: Wanted) -> LiveTeacher | CachedTeacher:
        """The teacher, of whom no more than `wanted` is ever asked."""
        if self.cfg.teacher_cache is None:
            return self._live_teacher()

        self.check_cacheable()
        folder, known, load = Path(self.cfg.teacher_cache), self.known_teacher, None
        if isinstance(known, Checkpoint):
            known, load = self._identity(known), self._live_teacher
            known.agree(folder)
        precision = str(self.cfg.cache_precision or "fp16")
        words = self.predicts_words
        return CachedTeacher(folder, known, wanted, precision, words, load, self._head_size())

    def unused_teacher_flags(self) -> list[str]:
        """Return the flags that describe a teacher or a cache which is not given; see `unused_flags.py`.

        Runs without either may share their flags with runs that have one.
        """
        cfg, entries = self.cfg, []
        if cfg.teacher is not None and cfg.teacher_cache is None and cfg.cache_precision is not None:
            entries += unused(["--cache-precision"], "no --teacher-cache")
        if cfg.teacher is None and cfg.teacher_cache is not None and cfg.teacher_device is not None:
            entries += unused(["--teacher-device"], "no --teacher")
        return entries

    def unused_cache(self, criterion: str) -> list[str]:
        """Return the cache's flag, if there is one, for a criterion that uses no teacher."""
        given = [] if self.cfg.teacher_cache is None else ["--teacher-cache"]
        return unused(given, f"--criterion {criterion} with these weights uses no teacher")

    def _live_teacher(self) -> LiveTeacher:
        return LiveTeacher(
            self.teacher_checkpoint,
            self.dictionary,
            self.head,
            self.cfg.teacher_device,
            self.teacher_precision,
        )

    def _identity(self, teacher: Checkpoint) -> Identity:
        head = self.head if self.head is not None and teacher.head(self.head) else None
        return Identity(
            teacher=hash_files([teacher.path]),
            precision=self.teacher_precision,
            head=head,
            encoder=self.dictionary_hash,
            length=self.data_length,
            shape=teacher.shape,
            num_classes=None if head is None else teacher.classes(head),
            has_lm_head=teacher.has_lm_head,
            class_names=self.class_names if head and teacher.class_names == self.class_names else (),
        )

    def _head_size(self) -> int:
        """Bytes of the teacher's masked-LM head, which shares one matrix or two with its word embeddings."""
        if self.teacher_checkpoint is None:
            return 0
        weights = self.teacher_checkpoint.weights.items()
        numbers = sum(value.numel() for name, value in weights if name.startswith("encoder.lm_head."))
        return numbers * PRECISIONS[self.teacher_precision].itemsize

    def serve_teacher(
        self, dataset: SequenceDataset, split: str, stored: Sequence[Path], settings: Mapping[str, Any]
    ) -> None:
        """Lets a data set read the teacher's signals of its rows, where there is a cache; each worker has to call this.

        split     its name, and its shard
        stored    the files it is read from
        settings  what else decides its tokens
        """

        def data() -> str:
            decided = json.dumps([hash_files(list(stored)), dict(settings)], sort_keys=True)
            return hashlib.sha256(decided.encode()).hexdigest()

        if isinstance(self.teacher, CachedTeacher):
            self.teacher.serve(dataset, split, data)

    def get_batch_iterator(self, *args, **kwargs):
        """As fairseq's, which asks for the first one when it has loaded all splits: a cache then takes its room."""
        if isinstance(self.teacher, CachedTeacher):
            self.teacher.take_room()
        return super().get_batch_iterator(*args, **kwargs)


def stored_files(path: Path, combine: bool) -> list[Path]:
    """The files that fairseq reads a split from: `path`.idx and .bin and, combined, `path`1.idx, .."""
    parts = [path]
    while combine and path.with_name(f"{path.name}{len(parts)}.idx").is_file():
        parts.append(path.with_name(f"{path.name}{len(parts)}"))
    return [part.with_name(part.name + suffix) for part in parts for suffix in (".idx", ".bin")]
