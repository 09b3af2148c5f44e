"""What `activate.py` wraps around the import of a few fairseq modules."""

import argparse
import dataclasses
import errno
import functools
import logging
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from types import ModuleType, SimpleNamespace

from .loaders import end_workers_with_epoch, reuse_only_cached, stop_early_readers
from .output import collect_warnings, repeat_warnings, short_output
from .resume import exact_resumes
from .validation import required_task, trained_criterion

# Everything that fairseq pickles into a checkpoint besides tensors and plain containers.
SAFE_GLOBALS = [argparse.Namespace]

# The names that fairseq still uses and numpy no longer has, with the meaning they had.
OLD_NUMPY_NAMES = {"float": float, "int": int, "compat": SimpleNamespace(long=int)}

# How the system says that a disk, a user's share of it or a file may not grow any more.
NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@contextmanager
def hashable_configs(module: ModuleType) -> Iterator[None]:
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
    _silence_notices()


def _hash_by_identity(cls: type, **_) -> None:
    if "__hash__" not in cls.__dict__:
        cls.__hash__ = object.__hash__


def _silence_notices() -> None:
    """Keeps every start from printing thirty lines on how fairseq itself calls hydra and torch."""
    for category in (DeprecationWarning, FutureWarning, UserWarning):
        warnings.filterwarnings("ignore", category=category, module=r"hydra\.")
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"fairseq\.")

    # Python >= 3.12 complains when it first compiles a file; the file's path stands for its module.
    warnings.filterwarnings("ignore", category=SyntaxWarning, module=r".*[\\/]fairseq[\\/]")

    # These are attributed to whoever called.
    warnings.filterwarnings("ignore", message=r"\s*The version_base parameter is not specified")
    warnings.filterwarnings("ignore", message=r"\s*'[^']*' is validated against ConfigStore schema")
    warnings.filterwarnings("ignore", message=r"`broadcast_buffers` is deprecated")
    warnings.filterwarnings("ignore", message=r"'pin_memory' argument is set as true but no accelerator")

    logging.getLogger("fairseq.tasks.text_to_speech").setLevel(logging.WARNING)


@contextmanager
def dependable_checkpoints(module: ModuleType) -> Iterator[None]:
    """Lets checkpoints load with `weights_only` protection on, and be whole whenever a run is killed.

    Allow-lists what fairseq checkpoints hold. fairseq writes a new checkpoint aside and renames it,
    but then copies it over `checkpoint_last.pt` in place: killed in between, a run cannot resume. Where
    one cannot be written, for want of room say, the run ends with a sentence, and nothing half-written stays.
    """
    yield

    import torch

    torch.serialization.add_safe_globals(SAFE_GLOBALS)

    copy, save = module.PathManager.copy, module.torch_persistent_save

    def copy_aside(src_path: str, dst_path: str, overwrite: bool = False) -> bool:
        if "://" in dst_path:
            return copy(src_path, dst_path, overwrite)
        with _whole_or_nothing(dst_path):
            copy(src_path, f"{dst_path}.tmp", overwrite=True)
            os.replace(f"{dst_path}.tmp", dst_path)
        return True

    def save_whole(obj, filename, async_write: bool = False) -> None:
        with _whole_or_nothing(filename):
            save(obj, filename, async_write)

    module.PathManager.copy = staticmethod(copy_aside)
    module.torch_persistent_save = save_whole


@contextmanager
def _whole_or_nothing(path: str) -> Iterator[None]:
    """Ends the run where `path`, made as `path`.tmp, cannot be written; other failures stay what they are."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        with suppress(OSError):
            os.unlink(f"{path}.tmp")
        failed = _failed_write(error)
        if failed is None:
            raise
        remedy = "when there is room" if failed.errno in NO_ROOM else "when that is mended"
        raise SystemExit(
            f"Cannot save {path}: {failed.strerror or failed}: the checkpoints before it are whole; {remedy}, the same "
            "command goes on from checkpoint_last.pt."
        ) from None


def _failed_write(error: BaseException | None) -> OSError | None:
    """The error of the file behind one of torch's writer, which raises a RuntimeError of its own on the way out."""
    while error is not None and not isinstance(error, OSError):
        error = error.__context__
    return error


@contextmanager
def old_numpy_names(module: ModuleType) -> Iterator[None]:
    """Lets one module, and no other, see numpy with the names it was written for."""
    yield

    numpy = module.np
    older = ModuleType(numpy.__name__)
    older.__dict__.update(numpy.__dict__ | OLD_NUMPY_NAMES)
    module.np = older


@contextmanager
def open_training_loop(module: ModuleType) -> Iterator[None]:
    """Lets a learning-rate scheduler that has a `loop` stand around these steps of training.

    fairseq asks nobody whether to stop, validate or save in mid-epoch. `loop.train(original, cfg, trainer, ...)`
    and so on are called in place of fairseq's functions; other schedulers see no difference.
    """
    yield
    for name in ("train", "validate", "validate_and_save"):
        setattr(module, name, _with_loop(name, getattr(module, name)))


def _with_loop(name: str, original: Callable) -> Callable:
    @functools.wraps(original)
    def step(cfg, trainer, *args):
        loop = getattr(trainer.lr_scheduler, "loop", None)
        if loop is None:
            return original(cfg, trainer, *args)
        return getattr(loop, name)(original, cfg, trainer, *args)

    return step


@contextmanager
def broadcast_checkpoints(module: ModuleType) -> Iterator[None]:
    """Lets a run of several workers resume: the first one hands the checkpoint to the others.

    What it sends beside the tensors holds the configuration, which torch's `weights_only` protection refuses.
    The file was read under that protection; between the workers of a run torch's own way is used.
    """
    yield

    import torch.distributed

    def broadcast_object_slow(obj, src_rank, group, dist_device):
        box = [obj]
        torch.distributed.broadcast_object_list(box, src=src_rank, group=group, device=dist_device)
        return box[0]

    module._broadcast_object_slow = broadcast_object_slow


@contextmanager
def ddp_on_any_device(module: ModuleType) -> Iterator[None]:
    """Lets `--ddp-backend pytorch_ddp`, the default, run with `--cpu`, where torch takes no device numbers."""
    yield
    wrapper = module.DistributedDataParallel

    def on_its_device(module, device_ids, output_device, **options):
        if all(parameter.device.type == "cpu" for parameter in module.parameters()):
            device_ids = output_device = None
        return wrapper(module=module, device_ids=device_ids, output_device=output_device, **options)

    module.DistributedDataParallel = on_its_device


@contextmanager
def whole_last_updates(module: ModuleType) -> Iterator[None]:
    """Lets the last update of an epoch count every batch, with several workers and `--update-freq` above 1.

    fairseq fills up the turn of a worker that has fewer batches, and looks at its last one alone: where that
    is a filler, the batches before it add to the gradient but not to what it is divided by, nor to the log.
    With fillers in front they do. This needs a task whose fillers count for nothing: `fillers_count = False`.
    """
    yield
    train_step = module.Trainer.train_step

    @functools.wraps(train_step)
    def fillers_first(self, samples, *args, **kwargs):
        if not getattr(self.task, "fillers_count", True):
            samples = sorted(samples, key=bool)
        return train_step(self, samples, *args, **kwargs)

    module.Trainer.train_step = fillers_first


@contextmanager
def no_ignored_keys(module: ModuleType) -> Iterator[None]:
    """Refuses keys that fairseq-hydra-train would ignore, such as `+optimization.max_updates=5`.

    hydra adds any key that follows a plus. fairseq checks task, model, criterion, optimizer and scheduler itself.
    """
    yield
    add_defaults = module.add_defaults

    def checked(cfg) -> None:
        if ignored := _ignored_keys(cfg, module.FairseqConfig):
            raise SystemExit(
                f"Cannot start: fairseq has no {', '.join(ignored)}: correct the key, or remove it."
            )
        add_defaults(cfg)

    module.add_defaults = checked


def _ignored_keys(cfg, config: type) -> list[str]:
    sections, ignored = config.__dataclass_fields__, []
    for section, values in cfg.items():
        if section not in sections:
            ignored.append(section)
        elif dataclasses.is_dataclass(sections[section].type):
            known = sections[section].type.__dataclass_fields__
            ignored += [f"{section}.{key}" for key in values if key not in known]
    return ignored


Patch = Callable[[ModuleType], AbstractContextManager[None]]


def _all_of(*patches: Patch) -> Patch:
    """One patch out of several for the same module; the last one wraps what the others put there."""

    @contextmanager
    def patched(module: ModuleType) -> Iterator[None]:
        with ExitStack() as stack:
            for patch in reversed(patches):
                stack.enter_context(patch(module))
            yield

    return patched


AROUND: dict[str, Patch] = {
    "fairseq.checkpoint_utils": dependable_checkpoints,
    "fairseq.data.data_utils": old_numpy_names,
    "fairseq.data.iterators": end_workers_with_epoch,
    "fairseq.data.language_pair_dataset": old_numpy_names,
    "fairseq.data.token_block_dataset": old_numpy_names,
    "fairseq.dataclass.configs": hashable_configs,
    "fairseq.distributed.utils": broadcast_checkpoints,
    "fairseq.models.distributed_fairseq_model": ddp_on_any_device,
    "fairseq.modules.dynamic_crf_layer": old_numpy_names,
    "fairseq.tasks.fairseq_task": reuse_only_cached,
    "fairseq.trainer": _all_of(whole_last_updates, repeat_warnings),
    "fairseq_cli.hydra_train": no_ignored_keys,
    "fairseq_cli.train": _all_of(
        open_training_loop, exact_resumes, stop_early_readers, short_output, collect_warnings
    ),
    "fairseq_cli.validate": _all_of(trained_criterion, required_task, stop_early_readers, short_output),
}
