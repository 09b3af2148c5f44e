"""Installs an import hook that patches fairseq's modules; imports neither torch nor fairseq itself.

`patches.py` lists the patched modules and their patches.
"""

# Every Python start in this environment runs this file, so it avoids importlib.abc, which takes longer to import
# than all the rest.
import sys
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from importlib.abc import Loader


class _PatchingLoader:
    """Runs the module's own loader, then its patches."""

    def __init__(self, loader: "Loader") -> None:
        self.loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self.loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        from .patches import PATCHES, during_import

        with during_import(module.__name__):
            self.loader.exec_module(module)
        for patch in PATCHES[module.__name__]:
            patch(module)

    def __getattr__(self, name: str) -> Any:
        # Tracebacks and inspect need get_source, get_filename, ... of the real loader.
        return getattr(self.loader, name)


class _FairseqFinder:
    def find_spec(self, fullname: str, path=None, target=None) -> ModuleSpec | None:
        if not fullname.startswith(("fairseq.", "fairseq_cli.")):
            return None
        # Imported here, so that a Python without fairseq starts fast.
        from .patches import PATCHES

        spec = PathFinder.find_spec(fullname, path, target) if fullname in PATCHES else None
        if spec is not None and spec.loader is not None:
            spec.loader = _PatchingLoader(spec.loader)  # type: ignore[assignment]
        return spec


def activate() -> None:
    """Put the finder in front of `sys.meta_path`, once."""
    if not any(isinstance(finder, _FairseqFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _FairseqFinder())


activate()
