"""Determines sizes and weights of a new student: `--init-from`, `--init-layers`, `--init-head`."""

from argparse import Namespace
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Optional

from fairseq.models import ARCH_CONFIG_REGISTRY, ARCH_MODEL_REGISTRY
from omegaconf import DictConfig, open_dict
from torch import Tensor, nn

from ..errors import CannotStart
from ..flags import flag_name
from ..layers import layer_numbers, student_state_dict
from .checkpoint import Checkpoint, read_checkpoint
from .data_requirements import DataRequirements
from .resume import ResumedRun, resumed_run
from .roberta_student import DEFAULTS, RobertaStudent
from .shape import CONFIG_NAMES, LM_HEAD


@dataclass(frozen=True)
class Initialization:
    """The checkpoint that a student is initialised from, and the copied parts.

    layers   copied layers of the source, bottom-up, counted from 0; None copies no weights
    head     whether to copy its classification head
    resumed  the run to resume, whose checkpoint has all weights
    """

    source: Optional[Checkpoint]
    layers: Optional[tuple[int, ...]]
    head: bool = False
    resumed: Optional[ResumedRun] = None

    def apply(self, model: nn.Module, head_name: Optional[str]) -> list[str]:
        """Copy the weights into a newly built student; return one line for each copied part.

        head_name  the student's classification head; None for a masked-LM student

        Raises CannotStart if a parameter outside the heads is missing in the source, or if a shape differs.
        """
        if self.resumed:
            return [f"everything: resumed from {self.source.path}"]
        if self.layers is None:
            return ["everything: random"]

        weights = student_state_dict(self.source.weights, self.layers)
        old_head = {
            name: weights.pop(name) for name in list(weights) if name.startswith("classification_heads.")
        }
        wanted = {
            name: p for name, p in model.state_dict().items() if not name.startswith("classification_heads.")
        }
        if not self.source.has_lm_head:
            wanted = {name: p for name, p in wanted.items() if not name.startswith(LM_HEAD)}
        self._check(weights, wanted)
        model.load_state_dict({name: weights[name] for name in wanted}, strict=False)

        lines = [f"embeddings: {self.source.path}"]
        lines += [f"layer {ours}: from layer {theirs}" for ours, theirs in enumerate(self.layers)]
        if head_name is None:
            return [*lines, f"LM head: {self.source.path if self.source.has_lm_head else 'new'}"]
        return [*lines, self._copy_head(model, old_head, head_name)]

    def _check(self, weights: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> None:
        missing = sorted(set(wanted) - set(weights))
        if missing:
            raise CannotStart(
                f"--init-from {self.source.path} has no {missing[0]}"
                f"{f' and {len(missing) - 1} more' if len(missing) > 1 else ''}, which the student needs: "
                "use a checkpoint that has them, or --init-layers random."
            )
        for name, ours in wanted.items():
            if weights[name].shape != ours.shape:
                raise CannotStart(
                    f"--init-from {self.source.path} has {name} of {_size(weights[name])}, but the student needs "
                    f"{_size(ours)}: use an --arch of its sizes, or --init-layers random."
                )

    def _copy_head(self, model: nn.Module, old_head: Mapping[str, Tensor], head_name: str) -> str:
        if not self.head:
            return "classification head: new"

        prefix = f"classification_heads.{head_name}."
        head = {name: p for name, p in model.state_dict().items() if name.startswith(prefix)}
        fits = all(name in old_head and old_head[name].shape == p.shape for name, p in head.items())
        if not fits:
            raise CannotStart(
                f"--init-head: {self.source.path} has no classification head with the student's sizes: "
                "remove the flag for a new one."
            )
        model.load_state_dict({name: old_head[name] for name in head}, strict=False)
        return f"classification head: {self.source.path}"


def check_arch(cfg: DictConfig | Namespace) -> None:
    """Raise CannotStart if --arch is not a student architecture of this package."""
    name = cfg._name
    if not issubclass(ARCH_MODEL_REGISTRY.get(name, object), RobertaStudent):
        raise CannotStart(
            f"--arch {name} does not return the signals for distillation: give --arch roberta_student, which takes its "
            "sizes from --init-from or --teacher."
        )


def find_initialization(
    cfg: DictConfig, teacher: Optional[Checkpoint], data: DataRequirements
) -> Initialization:
    """Return the initialisation of the student, and write its sizes into the model config.

    cfg      model config of this run; unset sizes are filled in
    teacher  the default source
    data     requirements of the data; decides the sizes of a student without a source

    Raises CannotStart if the flags conflict, or if the source does not fit the data.
    """
    check_arch(cfg)
    with open_dict(cfg):
        ARCH_CONFIG_REGISTRY[cfg._name](cfg)

    resumed = resumed_run(cfg)
    if resumed is not None:
        _fill(cfg, resumed.sizes)
        resumed.check(cfg)
        data.check_order_of_run(resumed.checkpoint, resumed.flag)
        data.check_vocabulary(resumed.checkpoint, "--init-from")
        return Initialization(resumed.checkpoint, layers=None, resumed=resumed)

    source = teacher if cfg.init_from is None else read_checkpoint(cfg.init_from, "--init-from")
    layers = None if source is None else _layers(cfg.init_layers, source)
    if cfg.init_head and (data.head is None or layers is None):
        raise CannotStart(
            "--init-head has no classification head to copy: give --init-from or --teacher and --init-layers for a --task "
            "with classes, or remove the flag."
        )
    if source is None:
        if cfg.init_layers not in ("random", "all"):
            raise CannotStart(
                f"--init-layers {cfg.init_layers} needs a checkpoint to copy layers from: give --init-from or --teacher."
            )
        _fill(cfg, DEFAULTS[data.pair_format])
        return Initialization(None, layers=None)
    if layers is None:
        if cfg.encoder_layers is None:
            raise CannotStart(
                "--init-layers random does not set the number of layers: give --encoder-layers, or an --arch with a depth."
            )
        _fill(cfg, source.shape.config())
        return Initialization(None, layers=None)

    if cfg.encoder_layers is not None and cfg.encoder_layers != len(layers):
        raise CannotStart(
            f"the student has {cfg.encoder_layers} layers (--arch, --encoder-layers) but --init-layers "
            f"{cfg.init_layers} names {len(layers)} of {source.path}: name exactly {cfg.encoder_layers}, or random."
        )
    _fill(cfg, replace(source.shape, layers=len(layers)).config())
    _check_sizes(cfg, source)
    if cfg.init_head:
        source = data.reordered_head(source, "--init-from")
    data.check_vocabulary(source, "--init-from")
    return Initialization(source, tuple(layers), head=cfg.init_head)


def _layers(given: str, source: Checkpoint) -> Optional[Sequence[int]]:
    if given == "random":
        return None
    try:
        return layer_numbers(given, source.shape.layers)
    except ValueError as error:
        raise CannotStart(f"{error} ({source.path})") from None


def _fill(cfg: DictConfig, sizes: dict) -> None:
    with open_dict(cfg):
        for name, value in sizes.items():
            if cfg.get(name) is None:
                cfg[name] = value


def _check_sizes(cfg: DictConfig, source: Checkpoint) -> None:
    theirs = source.shape.config()
    for name in CONFIG_NAMES.values():
        if name != "encoder_layers" and cfg[name] != theirs[name]:
            flag = flag_name(name)
            raise CannotStart(
                f"the student has {flag} {cfg[name]} (--arch or the flag), but --init-layers {cfg.init_layers} copies "
                f"layers of {source.path}, which has {theirs[name]}: remove {flag}, or give --init-layers random."
            )


def _size(tensor: Tensor) -> str:
    return " x ".join(map(str, tensor.shape))
