"""What is about to be trained, in a few lines."""

from collections.abc import Sequence
from typing import Optional

from torch import nn

from .models.shape import ModelShape


def summary(
    student: ModelShape,
    teacher: Optional[ModelShape],
    initialized: Sequence[str],
    criterion: nn.Module,
    model: nn.Module,
    frozen: Sequence[str],
) -> str:
    """Sizes, layer map, where the student came from, active terms, what stays untrained."""
    parameters = [p.numel() for p in model.parameters() if p.requires_grad]
    learned = sum(p.numel() for p in criterion.parameters() if p.requires_grad) - criterion.anchor.numel()
    lines = [
        f"student   {student}; {sum(parameters):,} parameters trained",
        f"teacher   {teacher or 'none'}",
        "init      " + "\n          ".join(initialized or ["all of it loaded from a checkpoint"]),
        f"loss      {criterion.stages}",
    ]
    lines += [f"map       {line}" for line in _maps(criterion)]
    if learned:
        lines.append(f"learned   {learned:,} parameters of the criterion")
    if frozen:
        lines.append(f"frozen    {len(frozen)} tensors no loss reaches, such as {frozen[0]}")
    return "\n".join(["Distillation", *("  " + line.replace("\n", "\n  ") for line in lines)])


def _maps(criterion: nn.Module) -> list[str]:
    """One row for each thing compared: student states on the left, teacher states on the right."""
    rows = []
    for name, part in criterion.named_children():
        if hasattr(part, "map_row"):
            rows.append(f"{name}: {part.map_row()}")
            widen = getattr(part, "widen", None)
            if widen is not None and widen.linear is not None:
                rows[-1] += (
                    f"  (student's width {widen.linear.in_features} -> {widen.linear.out_features} learned)"
                )
    return rows
