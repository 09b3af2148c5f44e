"""Identity of a cache: the teacher and the data that its signals belong to."""

import functools
import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Optional

from ...errors import CannotStart
from ...files import atomic_write, folder_lock
from ...models.shape import ModelShape

FORMAT = 4


@dataclass(frozen=True)
class Identity:
    """Properties shared by all signals of a cache. Hashes of the data are stored per split instead.

    teacher      hash of the teacher's checkpoint file
    precision    of the teacher's weights: fp32, bf16 or fp16
    head         classification head of the logits; None for the masked-LM head, or without a head
    encoder      hash of the vocabulary
    length       maximum length of the data in tokens; None if the data does not record it
    shape        of the teacher
    num_classes  of the teacher's head; None without a head
    has_lm_head  whether the teacher has a masked-LM head
    class_names  class names of the data, in the order of the stored logits; () if the teacher has none or others
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
        """Return the number of classes of the teacher's head with this name; None if it has no such head."""
        return self.num_classes if head == self.head else None

    @classmethod
    def read(cls, folder: Path) -> Optional["Identity"]:
        """Read the identity of the cache in a folder; None without a cache. Raises CannotStart if it is invalid."""
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
                f"--teacher-cache {folder} has an invalid cache.json ({type(error).__name__}: {error}): remove the folder, "
                "or name another."
            ) from None
        raise CannotStart(
            f"--teacher-cache {folder} has format {version}, but this version needs {FORMAT}: name another folder."
        )

    def agree(self, folder: Path) -> bool:
        """Return whether the folder is a cache; if it is one, its identity equals this one.

        Raises CannotStart if it is a cache with another identity.
        """
        found = self.read(folder)
        if found is not None:
            found.check(folder, vars(self))
        return found is not None

    def claim(self, folder: Path) -> None:
        """Make the folder a cache with this identity. Raises CannotStart if it is a cache with another identity."""
        try:
            with folder_lock(folder):
                if not self.agree(folder):
                    write_json(folder / "cache.json", {"format": FORMAT, **asdict(self)})
        except OSError as error:
            raise CannotStart(
                f"--teacher-cache {folder} cannot be written ({error.strerror}): name another folder."
            ) from None

    def check(self, folder: Path, wanted: dict[str, Any]) -> None:
        """Raise CannotStart if a property in `wanted` differs from this identity, that of the cache in `folder`."""
        for name, message in MISMATCHES.items():
            if name in wanted and getattr(self, name) != wanted[name]:
                found = message.format(cached=getattr(self, name), wanted=wanted[name])
                raise CannotStart(f"--teacher-cache {folder} {found}; or name another folder.")


MISMATCHES = {
    "teacher": "has the signals of another teacher than --teacher (their checkpoints differ): give that teacher",
    "precision": "was written with --teacher-precision {cached}, now {wanted}: give {cached}",
    "head": "was written with --classification-head-name {cached}, now {wanted}: give {cached}",
    "encoder": "has data of another vocabulary (their dict.txt differ): give data of the same encoder",
    "class_names": "has logits of the classes {cached}, now {wanted}: give data with that order",
    "length": "has data of up to {cached} tokens, now {wanted}: give data of that length",
}


def write_json(path: Path, values: dict[str, Any]) -> None:
    """Write a dictionary as indented JSON, atomically."""
    with atomic_write(path) as file:
        file.write((json.dumps(values, indent=1, sort_keys=True) + "\n").encode())


def hash_files(paths: list[Path]) -> str:
    """Return a hash of the contents of files: the SHA-256 of their concatenated SHA-256 digests."""
    states = [(path, path.stat()) for path in paths]
    digests = [_sha256(path, state.st_size, state.st_mtime_ns) for path, state in states]
    return hashlib.sha256(b"".join(digests)).hexdigest()


@functools.cache
def _sha256(path: Path, size: int, modified: int) -> bytes:
    """Return the SHA-256 of a file, computed once: each shard of a corpus is loaded many times."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
