"""The training that a run goes on with: which checkpoint fairseq restores, and what has to stay as it was."""

from argparse import Namespace
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

from fairseq.dataclass import FairseqDataclass
from omegaconf import II, DictConfig

from ..errors import CannotStart
from .checkpoint import Checkpoint, read_checkpoint
from .shape import CONFIG_NAMES

# fairseq's default of --restore-file, the only name that it looks for in --save-dir.
LAST = "checkpoint_last.pt"

# By the optimizer's wrapper, fairseq tells whether an optimizer's state fits.
FORMATS = ("fp16", "bf16", "amp", "memory_efficient_fp16", "memory_efficient_bf16")


@dataclass
class OwnRunFlags(FairseqDataclass):
    """What the model's config takes from fairseq's other sections."""

    save_dir: str = II("checkpoint.save_dir")
    restore_file: str = II("checkpoint.restore_file")
    continue_once: Optional[str] = II("checkpoint.continue_once")
    finetune_from_model: Optional[str] = II("checkpoint.finetune_from_model")
    checkpoint_suffix: str = II("checkpoint.checkpoint_suffix")
    reset_optimizer: bool = II("checkpoint.reset_optimizer")
    reset_lr_scheduler: bool = II("checkpoint.reset_lr_scheduler")
    optimizer: Optional[str] = II("optimizer._name")
    lr_scheduler: Optional[str] = II("lr_scheduler._name")
    fp16: bool = II("common.fp16")
    bf16: bool = II("common.bf16")
    amp: bool = II("common.amp")
    memory_efficient_fp16: bool = II("common.memory_efficient_fp16")
    memory_efficient_bf16: bool = II("common.memory_efficient_bf16")


@dataclass(frozen=True)
class OwnRun:
    """The checkpoint that fairseq is about to restore, weights, optimizer and all.

    flag  how the command names it
    """

    checkpoint: Checkpoint
    flag: str

    @property
    def sizes(self) -> dict[str, Any]:
        """The student's, as fields of the model config: as they were given there or, where it does not say, found."""
        given = {name: self.checkpoint.config.get(name) for name in CONFIG_NAMES.values()}
        return self.checkpoint.shape.config() | {
            name: size for name, size in given.items() if size is not None
        }

    def check(self, cfg: DictConfig) -> None:
        """Raises CannotStart where the run cannot go on with a student of this model config, whose sizes are filled in."""
        # Not by --init-from: one file has many paths, and may be gone by now.
        begun = {name: self.checkpoint.config.get(name) for name in ("init_layers", "init_head")}
        problems = [*self._compared(begun | self.sizes, cfg), *self._other_states(cfg)]
        if problems:
            raise CannotStart(*problems)

    def _other_states(self, cfg: DictConfig) -> Iterable[str]:
        """Of what fairseq restores beside the weights, all that no longer fits."""
        if cfg.reset_optimizer:
            return
        run = self.checkpoint.run
        formats = {name: (run.get("common") or {}).get(name) for name in FORMATS}
        # A command that only looks at a training names no optimizer.
        chosen = {"optimizer": _name(run.get("optimizer"))} if cfg.optimizer is not None else {}
        yield from self._compared(chosen | formats, cfg, "--reset-optimizer")
        if not cfg.reset_lr_scheduler:
            yield from self._compared(
                {"lr_scheduler": _name(run.get("lr_scheduler"))}, cfg, "--reset-lr-scheduler"
            )

    def _compared(
        self, before: Mapping[str, Any], cfg: DictConfig, reset: Optional[str] = None
    ) -> Iterable[str]:
        flags = {name: "--" + name.replace("_", "-") for name in before}
        named, now = ({flags[name]: values[name] for name in before} for values in (before, cfg))
        return self.changed(named, now, reset)

    def changed(
        self, before: Mapping[str, Any], now: Mapping[str, Any], reset: Optional[str] = None
    ) -> Iterable[str]:
        """A sentence for each flag that the run was begun with, if that is known, and that is another now.

        reset  a flag with which fairseq goes on all the same
        """
        or_reset = f", or {reset}" if reset else ""
        if self.flag == "--save-dir":
            run, instead = f"the run in {self.checkpoint.path.parent}", "give another --save-dir"
        else:
            run = f"the run of {self.flag} {self.checkpoint.path}"
            instead = f"give --init-from instead of {self.flag} to take its weights alone"
        for flag, value in before.items():
            if value is not None and flag in now and value != now[flag]:
                yield (
                    f"{run} was begun with {flag} {value}, now {now[flag]}: {instead}, or the settings of that run to go on "
                    f"with it{or_reset}."
                )


def own_run(cfg: DictConfig) -> Optional[OwnRun]:
    """What fairseq restores (`fairseq.checkpoint_utils.load_checkpoint`); None for a run that begins.

    Raises CannotStart where a file is named that fairseq would not find, or load over the new student: it would say no
    more than "No existing checkpoint found", and train what there is.
    """
    if cfg.finetune_from_model is not None:
        raise CannotStart(
            f"--finetune-from-model {cfg.finetune_from_model} loads weights past all that is checked of them: give "
            "--init-from and --init-layers all instead."
        )
    flag, path = _restored(cfg)
    if path is None:
        return None
    if not path.is_file():
        beside = Path(cfg.save_dir, path)
        meant = f"give {flag} {beside}" if beside.is_file() else "give the file's own path"
        raise CannotStart(
            f"{flag} {path} does not exist, and fairseq would begin anew without it: {meant}, or leave it out."
        )
    checkpoint = read_checkpoint(str(path), flag)
    if checkpoint.run.get("criterion") is None:
        raise CannotStart(
            f"{flag} {path} holds a model but no training to go on with: give --init-from to take its weights."
        )
    return OwnRun(checkpoint, flag)


def _restored(cfg: DictConfig) -> tuple[str, Optional[Path]]:
    """The flag and the file, which need not exist unless it was named; None where nothing is to be restored."""
    suffix = cfg.checkpoint_suffix or ""
    if cfg.restore_file != LAST:
        return "--restore-file", Path(cfg.restore_file.replace(".pt", f"{suffix}.pt"))
    last = Path(cfg.save_dir, f"checkpoint_last{suffix}.pt")
    if last.is_file():
        return "--save-dir", last
    return "--continue-once", cfg.continue_once and Path(cfg.continue_once)


def _name(part: Any) -> Optional[str]:
    """What a saved section of the configuration chose; fairseq's oldest optimizers are saved as a namespace."""
    part = vars(part) if isinstance(part, Namespace) else part
    return (part or {}).get("_name")
