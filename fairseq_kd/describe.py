"""Describes criterions and checkpoints as JSON, for programs that do not import torch, such as the launcher.

    python -m fairseq_kd.describe [CHECKPOINT ...]

criterions   name -> its flags in fairseq-train, and the class attributes that decide how it is trained
checkpoints  path -> numbers of layers and of positions, or `problem`, an error message
fairseq      path and text of the version file of the imported fairseq
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fairseq import version
from fairseq.criterions import CRITERION_REGISTRY

from .criterions.distillation import DistillationCriterion
from .errors import CannotStart
from .models.checkpoint import read_checkpoint


def describe(checkpoints: Sequence[str] = ()) -> dict[str, Any]:
    """Return the description of all registered criterions of the plugin and of these checkpoints."""
    return {
        "criterions": {
            name: _criterion(criterion)
            for name, criterion in sorted(CRITERION_REGISTRY.items())
            if issubclass(criterion, DistillationCriterion)
        },
        "checkpoints": {path: _checkpoint(path) for path in checkpoints},
        "fairseq": [version.__file__, Path(version.__file__).read_text("utf-8")],
    }


def _criterion(criterion: type[DistillationCriterion]) -> dict[str, Any]:
    return {
        "needs_teacher": criterion.needs_teacher,
        "needs_classes": criterion.needs_classes,
        "first_stage": criterion.first_stage and criterion.own_terms and criterion.needs_teacher,
        "mixes_states": criterion.mixes_states,
        "flags": _flags(criterion),
    }


def _flags(criterion: type[DistillationCriterion]) -> dict[str, dict[str, Any]]:
    """Return type, default and choices of each flag, as fairseq's own parser has them."""
    parser = argparse.ArgumentParser(add_help=False)
    criterion.add_args(parser)
    return {
        name: {"type": _type(action), "default": action.default, "choices": action.choices}
        for action in parser._actions
        for name in action.option_strings
    }


def _type(action: argparse.Action) -> str:
    if action.nargs == 0:
        return "bool"
    name = getattr(action.type, "__name__", "str")
    return "list" if name == "<lambda>" else name  # fairseq reads lists by lambda functions


def _checkpoint(path: str) -> dict[str, Any]:
    try:
        shape = read_checkpoint(path, "the model").shape
        return {"layers": shape.layers, "positions": shape.max_positions}
    except CannotStart as error:
        return {"problem": " ".join(error.errors)}


if __name__ == "__main__":
    print(json.dumps(describe(sys.argv[1:]), default=str))
