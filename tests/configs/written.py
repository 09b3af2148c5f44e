"""Reads a config of fairseq-hydra-train without hydra, whose global state would affect later tests."""

from pathlib import Path

from omegaconf import DictConfig, OmegaConf


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
