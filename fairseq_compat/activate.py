"""Installs a light import hook; imports neither torch nor fairseq.

The hook waits for two modules of fairseq and touches nothing else:

fairseq.dataclass.configs   is executed while every config dataclass gets an explicit `__hash__`
fairseq.checkpoint_utils    is followed by an allow-list for `torch.load`
"""

import sys
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

HOOKED = ("fairseq.dataclass.configs", "fairseq.checkpoint_utils")


class _HookedLoader(Loader):
    """Runs the module's own loader between the two halves of its patch."""

    def __init__(self, loader: Loader) -> None:
        self.loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self.loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        # Imported here so that starting Python costs nothing where fairseq is not used.
        from . import patches

        with patches.AROUND[module.__name__]():
            self.loader.exec_module(module)

    def __getattr__(self, name: str):
        # get_source, get_filename, ...: tracebacks and inspect ask the real loader.
        return getattr(self.loader, name)


class _FairseqFinder(MetaPathFinder):
    def find_spec(self, fullname, path=None, target=None) -> ModuleSpec | None:
        if fullname not in HOOKED:
            return None

        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _HookedLoader(spec.loader)
        return spec


def activate() -> None:
    """Puts the finder in front of `sys.meta_path`, once."""
    if not any(isinstance(finder, _FairseqFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _FairseqFinder())


activate()
