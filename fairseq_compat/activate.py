"""Installs a light import hook; imports neither torch nor fairseq.

The hook waits for the modules of fairseq named below and touches nothing else; what is done
around the import of each is in `patches.py`.
"""

# Every Python start in this environment runs this file: the base classes of importlib.abc would
# be proper here, but importing them takes longer than all the rest.
import sys
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import ModuleType

HOOKED = frozenset(
    {
        "fairseq.checkpoint_utils",
        "fairseq.data.data_utils",
        "fairseq.data.iterators",
        "fairseq.data.language_pair_dataset",
        "fairseq.data.token_block_dataset",
        "fairseq.dataclass.configs",
        "fairseq.distributed.utils",
        "fairseq.models.distributed_fairseq_model",
        "fairseq.modules.dynamic_crf_layer",
        "fairseq.tasks.fairseq_task",
        "fairseq.trainer",
        "fairseq_cli.hydra_train",
        "fairseq_cli.train",
        "fairseq_cli.validate",
    }
)


class _HookedLoader:
    """Runs the module's own loader between the two halves of its patch."""

    def __init__(self, loader: SourceFileLoader) -> None:
        self.loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self.loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        # Imported here so that starting Python costs nothing where fairseq is not used.
        from . import patches

        with patches.AROUND[module.__name__](module):
            self.loader.exec_module(module)

    def __getattr__(self, name: str):
        # get_source, get_filename, ...: tracebacks and inspect ask the real loader.
        return getattr(self.loader, name)


class _FairseqFinder:
    def find_spec(self, fullname: str, path=None, target=None) -> ModuleSpec | None:
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
