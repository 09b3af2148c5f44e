"""Criterions for models of given shapes, without models, data or a task."""

from types import SimpleNamespace
from typing import Any

import numpy as np
from fairseq.criterions import CRITERION_DATACLASS_REGISTRY, CRITERION_REGISTRY
from fairseq.dataclass.utils import merge_with_parent
from omegaconf import OmegaConf

import fairseq_kd  # noqa: F401
from fairseq_kd.context import DistillationContext
from fairseq_kd.models.shape import ModelShape
from fairseq_kd.objectives import SentenceLabels

STUDENT = ModelShape(layers=2, width=16, ffn=32, heads=4)
TEACHER = ModelShape(layers=4, width=16, ffn=32, heads=4)

# fairseq fills in these from other sections of its config.
FILLED_IN = {
    "optimizer_name": "adamw_fused",
    "ddp_backend": "legacy_ddp",
    "amp": False,
    "fp16": False,
    "fp16_no_flatten_grads": False,
    "memory_efficient_fp16": False,
    "find_unused_parameters": False,
}


def config_of(words: str) -> Any:
    """Return a criterion's config. words: its name and its flags, as on a command line."""
    method, *flags = words.split()
    dataclass = CRITERION_DATACLASS_REGISTRY[method]()
    given: dict[str, Any] = {name: value for name, value in FILLED_IN.items() if hasattr(dataclass, name)}
    for word in flags:
        if word.startswith("--"):
            name = word[2:].replace("-", "_")
            given[name] = True
        else:
            given[name] = word.split(",") if name == "first_weights" else word
    return merge_with_parent(dataclass, OmegaConf.create({"_name": method, **given}))


def criterion_of(
    words: str, student: ModelShape = STUDENT, teacher: ModelShape | None = TEACHER, **context: Any
) -> Any:
    """Return a criterion. words: see `config_of`; context: fields of the `DistillationContext`."""
    given = {"objective": SentenceLabels(2, regression=False), "head": "head", "data": "DATA"}
    given |= {"train_labels": lambda: np.array([0, 1, 0])} | context
    made = DistillationContext(student_shape=student, teacher_shape=teacher, **given)
    cfg = config_of(words)
    return CRITERION_REGISTRY[cfg._name](cfg, SimpleNamespace(context=made))
