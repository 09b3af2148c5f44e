"""Whose signals a cache holds, and of what."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Optional

from ...errors import CannotStart
from ...models.shape import ModelShape
from .files import locked, write_json

FORMAT = 3


@dataclass(frozen=True)
class Identity:
    """What all signals of a cache have in common; of the data itself, each split keeps a hash of its own.

    teacher     hash of the checkpoint's file
    precision   of the teacher's weights: fp32, bf16 or fp16
    head        the classification head that gave the logits; None for none, or the masked-LM head
    encoder     hash of the vocabulary
    length      limit to which the data was cut, in tokens; None where it does not say
    shape       the teacher's
    num_classes  of its head; None without one
    has_lm_head  whether it can predict words
    class_names  of the data, in the order of the stored logits; () if the teacher's classes have no names, or others
    """

    teacher: str
    precision: str
    head: Optional[str]
    encoder: str
    length: Optional[int]
    shape: ModelShape
    num_classes: Optional[int]
    has_lm_head: bool
    class_names: tuple[str, ...]

    def classes(self, head: str) -> Optional[int]:
        """How many classes the teacher's head of that name tells apart; None without it."""
        return self.num_classes if head == self.head else None

    @classmethod
    def read(cls, folder: Path) -> Optional["Identity"]:
        """That of the cache in a folder; None where there is none. CannotStart where it cannot be read."""
        path = folder / "cache.json"
        if not path.is_file():
            return None
        try:
            values = json.loads(path.read_text("utf-8"))
            version = values.pop("format")
            if version == FORMAT:
                parts = {"shape": ModelShape(**values["shape"]), "class_names": tuple(values["class_names"])}
                return cls(**values | parts)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise CannotStart(
                f"--teacher-cache {folder} has a cache.json that cannot be understood ({type(error).__name__}: {error}): "
                "remove the folder, or name another."
            ) from None
        raise CannotStart(
            f"--teacher-cache {folder} is of format {version}, and this program reads {FORMAT}: name another folder."
        )

    def agree(self, folder: Path) -> bool:
        """Whether the folder is a cache of this; False where it is none yet, CannotStart where it is of something else."""
        there = self.read(folder)
        if there is not None:
            there.check(folder, vars(self))
        return there is not None

    def claim(self, folder: Path) -> None:
        """Makes the folder a cache of this; CannotStart where it is one of something else."""
        try:
            with locked(folder):
                if not self.agree(folder):
                    write_json(folder / "cache.json", {"format": FORMAT, **asdict(self)})
        except OSError as error:
            raise CannotStart(
                f"--teacher-cache {folder} cannot be written ({error.strerror}): name another folder."
            ) from None

    def check(self, folder: Path, wanted: dict[str, Any]) -> None:
        """Raises CannotStart where the cache in `folder`, which is of this, is not of what is wanted."""
        for name, meaning in MEANINGS.items():
            if name in wanted and getattr(self, name) != wanted[name]:
                found = meaning.format(there=getattr(self, name), wanted=wanted[name])
                raise CannotStart(f"--teacher-cache {folder} {found}; or name another folder.")


MEANINGS = {
    "teacher": "holds the signals of another teacher than --teacher (their checkpoints differ): give that teacher",
    "precision": "was written with --teacher-precision {there}, now {wanted}: give {there}",
    "head": "was written with --classification-head-name {there}, now {wanted}: give that",
    "encoder": "is of data of another vocabulary (their dict.txt differ): give data that the same encoder made",
    "class_names": "holds logits of the classes {there}, now {wanted}: give data with that order",
    "length": "is of data of up to {there} tokens, now {wanted}: give data of that length",
}
