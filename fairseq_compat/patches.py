"""The patched modules of fairseq, and the patches for new versions of Python, numpy, torch and hydra."""

import argparse
import dataclasses
import errno
import logging
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import ModuleType, SimpleNamespace
from typing import Any

from .loaders import end_workers_with_epoch, stop_early_readers
from .output import collect_warnings, repeat_warnings, short_output
from .resume import exact_resume, resume_within_epoch
from .validation import trained_criterion
from .wrap import is_ours, wrap

# The classes that fairseq pickles into a checkpoint, in addition to tensors and plain containers.
SAFE_GLOBALS = [argparse.Namespace]

# Names that fairseq uses, but that numpy has removed -> their former meaning.
OLD_NUMPY_NAMES = {"float": float, "int": int, "compat": SimpleNamespace(long=int)}

# Errors of a full disk, an exceeded quota and an exceeded file size limit.
DISK_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@contextmanager
def during_import(name: str) -> Iterator[None]:
    """Make configs hashable while fairseq.dataclass.configs is imported.

    fairseq writes `common: CommonConfig = CommonConfig()`. Python 3.11 refuses defaults that cannot be hashed, and
    `@dataclass` makes a class unhashable unless the class defines `__hash__` itself.
    """
    if name != "fairseq.dataclass.configs":
        yield
        return
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


def _hash_by_identity(cls: Any, **_) -> None:
    if "__hash__" not in cls.__dict__:
        cls.__hash__ = object.__hash__


def silence_warnings(module: ModuleType) -> None:
    """Suppress warnings about the way in which fairseq itself calls hydra and torch."""
    for category in (DeprecationWarning, FutureWarning, UserWarning):
        warnings.filterwarnings("ignore", category=category, module=r"hydra\.")
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"fairseq\.")

    # Python >= 3.12 warns when it first compiles a file, with the file's path as its module.
    warnings.filterwarnings("ignore", category=SyntaxWarning, module=r".*[\\/]fairseq[\\/]")

    # Python reports these warnings for the calling module.
    warnings.filterwarnings("ignore", message=r"\s*The version_base parameter is not specified")
    warnings.filterwarnings("ignore", message=r"\s*'[^']*' is validated against ConfigStore schema")
    warnings.filterwarnings("ignore", message=r"`broadcast_buffers` is deprecated")
    warnings.filterwarnings("ignore", message=r"'pin_memory' argument is set as true but no accelerator")

    logging.getLogger("fairseq.tasks.text_to_speech").setLevel(logging.WARNING)


def atomic_checkpoints(module: ModuleType) -> None:
    """Load checkpoints with `weights_only`, and write them atomically.

    fairseq writes a new checkpoint to a temporary file and renames it, but then copies it over `checkpoint_last.pt`
    in place: a run that is killed in between cannot resume. If writing fails, for example on a full disk, the run ends
    with an error message, and the temporary file is removed.
    """
    import torch

    torch.serialization.add_safe_globals(SAFE_GLOBALS)
    copy = module.PathManager.copy

    def atomic_copy(src_path: str, dst_path: str, overwrite: bool = False) -> bool:
        if "://" in dst_path:
            return copy(src_path, dst_path, overwrite)
        with _removing_failed(dst_path):
            copy(src_path, f"{dst_path}.tmp", overwrite=True)
            os.replace(f"{dst_path}.tmp", dst_path)
        return True

    module.PathManager.copy = staticmethod(atomic_copy)

    @wrap(module, "torch_persistent_save")
    def save(original, obj, filename, async_write: bool = False) -> None:
        with _removing_failed(filename):
            original(obj, filename, async_write)


@contextmanager
def _removing_failed(path: str) -> Iterator[None]:
    """Remove `path`.tmp after an error. Raise SystemExit if the file cannot be written; other errors pass through."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        with suppress(OSError):
            os.unlink(f"{path}.tmp")
        # torch's writer raises a RuntimeError of its own after the OSError.
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, OSError):
            cause = cause.__context__
        if cause is None:
            raise
        remedy = "free some space" if cause.errno in DISK_FULL else "fix the cause"
        raise SystemExit(
            f"Cannot save {path}: {cause.strerror or cause}: {remedy} and repeat the command, which resumes from "
            "checkpoint_last.pt. Earlier checkpoints are complete."
        ) from None


def old_numpy_names(module: Any) -> None:
    """Let one module use a copy of numpy that has the removed names."""
    numpy = module.np
    older = ModuleType(numpy.__name__)
    older.__dict__.update(numpy.__dict__ | OLD_NUMPY_NAMES)
    module.np = older


def open_training_loop(module: ModuleType) -> None:
    """Let a learning rate scheduler with a `loop` wrap functions of the training loop.

    By itself, fairseq cannot stop, validate or save by the clock. With such a scheduler, it calls
    `loop.train(original, cfg, trainer, ...)` instead of `train`, and so on. Other schedulers are not affected.
    """
    for name in ("train", "validate", "validate_and_save"):
        _wrap_with_loop(module, name)


def _wrap_with_loop(module: ModuleType, name: str) -> None:
    @wrap(module, name)
    def step(original, cfg, trainer, *args):
        loop = getattr(trainer.lr_scheduler, "loop", None)
        if loop is None:
            return original(cfg, trainer, *args)
        return getattr(loop, name)(original, cfg, trainer, *args)


def broadcast_checkpoints(module: Any) -> None:
    """Let a run of several workers resume: the first worker sends the checkpoint to the others.

    The checkpoint includes the configuration, which fairseq's own function would load with `weights_only`, and fail.
    torch's function unpickles it. This is safe, because the first worker read the file with `weights_only`.
    """
    import torch.distributed

    def broadcast_object_slow(obj, src_rank, group, dist_device):
        box = [obj]
        torch.distributed.broadcast_object_list(box, src=src_rank, group=group, device=dist_device)
        return box[0]

    module._broadcast_object_slow = broadcast_object_slow


def ddp_on_any_device(module: ModuleType) -> None:
    """Let `--ddp-backend pytorch_ddp`, the default, run with `--cpu`, for which torch accepts no device numbers."""

    @wrap(module, "DistributedDataParallel")
    def on_its_device(original, module, device_ids, output_device, **options):
        if all(parameter.device.type == "cpu" for parameter in module.parameters()):
            device_ids = output_device = None
        return original(module=module, device_ids=device_ids, output_device=output_device, **options)


def complete_last_updates(module: ModuleType) -> None:
    """Count every batch in the last update of an epoch, with several workers and `--update-freq` above 1.

    fairseq gives a worker with fewer batches empty ones, and computes a dummy batch for each. It checks the last batch
    only. If that is empty, the batches before it add to the gradient, but not to its divisor or the log. With empty
    batches in front, they count. This needs a task in which dummy batches have no weight.
    """

    @wrap(module.Trainer, "train_step")
    def empty_batches_first(original, self, samples, *args, **kwargs):
        return original(self, sorted(samples, key=bool) if is_ours(self.task) else samples, *args, **kwargs)


def no_ignored_keys(module: ModuleType) -> None:
    """Refuse keys that fairseq-hydra-train would ignore, such as `+optimization.max_updates=5`.

    hydra adds any key after a plus. fairseq checks task, model, criterion, optimizer and scheduler itself.
    """

    @wrap(module, "add_defaults")
    def checked(original, cfg) -> None:
        if ignored := _ignored_keys(cfg, module.FairseqConfig):
            raise SystemExit(f"Cannot start: fairseq has no {', '.join(ignored)}: correct or remove it.")
        original(cfg)


def _ignored_keys(cfg: Any, config: Any) -> list[str]:
    sections, ignored = config.__dataclass_fields__, []
    for section, values in cfg.items():
        if section not in sections:
            ignored.append(section)
        elif dataclasses.is_dataclass(sections[section].type):
            known = sections[section].type.__dataclass_fields__
            ignored += [f"{section}.{key}" for key in values if key not in known]
    return ignored


# Module -> patches to apply after its import, in this order: a later patch wraps the functions of earlier ones.
PATCHES: dict[str, list[Callable[[ModuleType], None]]] = {
    "fairseq.checkpoint_utils": [atomic_checkpoints],
    "fairseq.data.data_utils": [old_numpy_names],
    "fairseq.data.iterators": [end_workers_with_epoch, resume_within_epoch],
    "fairseq.data.language_pair_dataset": [old_numpy_names],
    "fairseq.data.token_block_dataset": [old_numpy_names],
    "fairseq.dataclass.configs": [silence_warnings],
    "fairseq.distributed.utils": [broadcast_checkpoints],
    "fairseq.models.distributed_fairseq_model": [ddp_on_any_device],
    "fairseq.modules.dynamic_crf_layer": [old_numpy_names],
    "fairseq.trainer": [complete_last_updates, repeat_warnings],
    "fairseq_cli.hydra_train": [no_ignored_keys],
    "fairseq_cli.train": [
        open_training_loop,
        exact_resume,
        stop_early_readers,
        short_output,
        collect_warnings,
    ],
    "fairseq_cli.validate": [trained_criterion, stop_early_readers, short_output],
}
