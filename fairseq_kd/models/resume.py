"""Finds the checkpoint that fairseq resumes from, and checks that the settings still match it."""

from argparse import Namespace
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

from fairseq.dataclass import FairseqDataclass
from omegaconf import II, DictConfig

from ..errors import CannotStart
from ..flags import flag_name
from .checkpoint import Checkpoint, read_checkpoint
from .shape import CONFIG_NAMES

# fairseq's default of --restore-file, the only checkpoint name that it looks for in --save-dir.
LAST = "checkpoint_last.pt"

# These settings choose the optimizer's wrapper, which must match the saved optimizer state.
FORMATS = ("fp16", "bf16", "amp", "memory_efficient_fp16", "memory_efficient_bf16")


@dataclass
class ResumeFlags(FairseqDataclass):
    """Settings that the model config takes from other sections of fairseq's config."""

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
class ResumedRun:
    """The checkpoint that fairseq will restore, with weights and optimizer.

    flag  flag that names the checkpoint
    """

    checkpoint: Checkpoint
    flag: str

    @property
    def sizes(self) -> dict[str, Any]:
        """Sizes of the student as fields of the model config; missing fields are those of the weights."""
        given = {name: self.checkpoint.config.get(name) for name in CONFIG_NAMES.values()}
        return self.checkpoint.shape.config() | {
            name: size for name, size in given.items() if size is not None
        }

    def check(self, cfg: DictConfig) -> None:
        """Raise CannotStart if the run cannot resume with this model config, whose sizes are filled in."""
        # --init-from is not compared: the file may have been moved, or removed.
        started_with = {name: self.checkpoint.config.get(name) for name in ("init_layers", "init_head")}
        errors = [*self._changed_settings(started_with | self.sizes, cfg), *self._state_errors(cfg)]
        if errors:
            raise CannotStart(*errors)

    def _state_errors(self, cfg: DictConfig) -> Iterable[str]:
        """Yield an error message for each restored state, other than weights, that no longer matches."""
        if cfg.reset_optimizer:
            return
        run = self.checkpoint.run
        formats = {name: (run.get("common") or {}).get(name) for name in FORMATS}
        # Commands that do not train have no optimizer.
        chosen = {"optimizer": _name(run.get("optimizer"))} if cfg.optimizer is not None else {}
        yield from self._changed_settings(chosen | formats, cfg, "--reset-optimizer")
        if not cfg.reset_lr_scheduler:
            yield from self._changed_settings(
                {"lr_scheduler": _name(run.get("lr_scheduler"))}, cfg, "--reset-lr-scheduler"
            )

    def _changed_settings(
        self, before: Mapping[str, Any], cfg: DictConfig, reset: Optional[str] = None
    ) -> Iterable[str]:
        flags = {name: flag_name(name) for name in before}
        named, now = ({flags[name]: values[name] for name in before} for values in (before, cfg))
        return self.changed_flags(named, now, reset)

    def changed_flags(
        self, before: Mapping[str, Any], now: Mapping[str, Any], reset: Optional[str] = None
    ) -> Iterable[str]:
        """Yield an error message for each flag whose value differs from the start of the run, if known.

        reset  flag that lets fairseq continue with the changed value
        """
        or_reset = f", or {reset}" if reset else ""
        if self.flag == "--save-dir":
            run, instead = f"the run in {self.checkpoint.path.parent}", "give another --save-dir"
        else:
            run = f"the run of {self.flag} {self.checkpoint.path}"
            instead = f"give --init-from instead of {self.flag} to load only its weights"
        for flag, value in before.items():
            if value is not None and flag in now and value != now[flag]:
                yield (
                    f"{run} was started with {flag} {value}, now {now[flag]}: {instead}, or the settings of that run to "
                    f"resume it{or_reset}."
                )


def resumed_run(cfg: DictConfig) -> Optional[ResumedRun]:
    """Return the checkpoint that fairseq restores (`fairseq.checkpoint_utils.load_checkpoint`); None for a new run.

    Raises CannotStart if the named file does not exist: fairseq would only log "No existing checkpoint found" and train
    a new student. Also raises CannotStart for --finetune-from-model, which would overwrite the initialised weights.
    """
    if cfg.finetune_from_model is not None:
        raise CannotStart(
            f"--finetune-from-model {cfg.finetune_from_model} loads weights without any check: give "
            "--init-from and --init-layers all instead."
        )
    flag, path = _file_to_restore(cfg)
    if path is None:
        return None
    if not path.is_file():
        in_save_dir = Path(cfg.save_dir, path)
        fix = f"give {flag} {in_save_dir}" if in_save_dir.is_file() else "give the path of an existing file"
        raise CannotStart(
            f"{flag} {path} does not exist, and fairseq would start a new run: {fix}, or remove the flag."
        )
    checkpoint = read_checkpoint(str(path), flag)
    if checkpoint.run.get("criterion") is None:
        raise CannotStart(
            f"{flag} {path} has a model but no training state to resume: give --init-from to load its weights."
        )
    return ResumedRun(checkpoint, flag)


def _file_to_restore(cfg: DictConfig) -> tuple[str, Optional[Path]]:
    """Return the flag and the file to restore, which may not exist; None if nothing is to be restored."""
    suffix = cfg.checkpoint_suffix or ""
    if cfg.restore_file != LAST:
        return "--restore-file", Path(cfg.restore_file.replace(".pt", f"{suffix}.pt"))
    last = Path(cfg.save_dir, f"checkpoint_last{suffix}.pt")
    if last.is_file():
        return "--save-dir", last
    return "--continue-once", cfg.continue_once and Path(cfg.continue_once)


def _name(part: Any) -> Optional[str]:
    """Return `_name` of a saved config section, which old versions of fairseq save as a namespace."""
    part = vars(part) if isinstance(part, Namespace) else part
    return (part or {}).get("_name")
