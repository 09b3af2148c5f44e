"""What a config for fairseq-hydra-train says, without hydra, which would stay set up for the tests after it."""

from pathlib import Path

from omegaconf import DictConfig, OmegaConf


def written(folder: Path, name: str) -> DictConfig:
    """The config and the base beside it, in the order in which hydra merges them; raises for a key that is none."""
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
