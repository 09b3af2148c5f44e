"""What `activate.py` wraps around the import of two fairseq modules."""

import argparse
import dataclasses
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

# Everything that fairseq pickles into a checkpoint besides tensors and plain containers.
SAFE_GLOBALS = [argparse.Namespace]


@contextmanager
def hashable_configs() -> Iterator[None]:
    """Gives every FairseqDataclass an explicit `__hash__` before `@dataclass` sees it.

    fairseq writes `common: CommonConfig = CommonConfig()`. Python 3.11 refuses defaults that
    cannot be hashed, and `@dataclass` makes a class unhashable unless it says otherwise itself.
    """
    original = dataclasses.dataclass

    def dataclass(cls=None, /, **options):
        if cls is not None and cls.__name__ == "FairseqDataclass":
            _hash_by_identity(cls)
            cls.__init_subclass__ = classmethod(_hash_by_identity)
        return original(cls, **options)

    dataclasses.dataclass = dataclass
    try:
        yield
    finally:
        dataclasses.dataclass = original


def _hash_by_identity(cls: type, **_) -> None:
    if "__hash__" not in cls.__dict__:
        cls.__hash__ = object.__hash__


@contextmanager
def loadable_checkpoints() -> Iterator[None]:
    """Allow-lists what fairseq checkpoints hold; `weights_only` protection stays on."""
    yield

    import torch

    torch.serialization.add_safe_globals(SAFE_GLOBALS)


AROUND: dict[str, Callable[[], AbstractContextManager[None]]] = {
    "fairseq.dataclass.configs": hashable_configs,
    "fairseq.checkpoint_utils": loadable_checkpoints,
}
