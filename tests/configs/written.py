"""Reads configs of fairseq-hydra-train, without hydra, whose global state would affect later tests, and grids."""

from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from launcher.datasets import TASKS, Data
from launcher.execution.command import train_flags
from launcher.overrides import Overrides
from launcher.planning.expand import plan
from launcher.planning.job import Job


def written(folder: Path, name: str) -> DictConfig:
    """Return the config merged with base.yaml, as hydra merges them. Raises for an unknown key."""
    from fairseq.criterions import CRITERION_DATACLASS_REGISTRY
    from fairseq.dataclass.configs import FairseqConfig
    from fairseq.models import ARCH_MODEL_NAME_REGISTRY, MODEL_DATACLASS_REGISTRY
    from fairseq.optim import OPTIMIZER_DATACLASS_REGISTRY
    from fairseq.optim.lr_scheduler import LR_SCHEDULER_DATACLASS_REGISTRY
    from fairseq.tasks import TASK_DATACLASS_REGISTRY

    import fairseq_kd  # noqa: F401

    registries = {
        "task": TASK_DATACLASS_REGISTRY,
        "criterion": CRITERION_DATACLASS_REGISTRY,
        "optimizer": OPTIMIZER_DATACLASS_REGISTRY,
        "lr_scheduler": LR_SCHEDULER_DATACLASS_REGISTRY,
    }
    config = OmegaConf.merge(OmegaConf.load(folder / f"{name}.yaml"), OmegaConf.load(folder / "base.yaml"))
    del config["hydra"], config["defaults"]
    for section, values in config.items():
        if section in registries:
            dataclass = registries[section][values._name]
        elif section == "model":
            dataclass = MODEL_DATACLASS_REGISTRY[ARCH_MODEL_NAME_REGISTRY[values._name]]
        else:
            dataclass = FairseqConfig.__dataclass_fields__[section].type
        OmegaConf.merge(OmegaConf.structured(dataclass), values)
    return config


def flags_by_task(grid: Any) -> dict[str, Overrides]:
    """Return the flags of one student of each task of a grid."""
    tasks = grid.config.task
    data = {task: Data(Path("d"), TASKS[task].sentences, "accuracy", ("valid",), "d") for task in tasks}
    specs = plan(grid, data, dict.fromkeys(tasks, "t"), {})
    files = (Path("t.pt"), Path("t.pt"))
    return {
        spec.task: train_flags(Job(spec, Path("r"), data[spec.task], "t", True, *files)) for spec in specs
    }
