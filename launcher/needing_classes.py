"""Methods whose terms take labels that are classes, held against the tasks of a grid before anything is trained.

Which these are, and why, their criterions say (`needs_classes`); it is read from their source, as their flags are.
"""

import ast
import functools
from pathlib import Path

from preprocess.tasks import TASKS

from .criterion_flags import registered
from .flags import value_of
from .places import PLUGIN
from .plan import Grid

CONSTANT = "needs_classes"


@functools.cache
def needing_classes(plugin: Path = PLUGIN) -> dict[str, str]:
    """What the terms of each such criterion do, as a sentence goes on after its name."""
    trees = (ast.parse(source.read_text("utf-8")) for source in sorted((plugin / "criterions").glob("*.py")))
    criterions = (node for tree in trees for node in tree.body if isinstance(node, ast.ClassDef))
    return {
        name: statement.value.value
        for criterion in criterions
        for name in registered(criterion)
        for statement in criterion.body
        if isinstance(statement, ast.Assign)
        and [getattr(target, "id", None) for target in statement.targets] == [CONSTANT]
    }


def without_classes(grid: Grid) -> list[str]:
    """A sentence for each method whose terms meet a task that scores sentences with numbers."""
    numbers = [task for task in grid.tasks if TASKS[task].regression]
    if not numbers or _weightless(value_of("--inter-weight", grid.flags)):
        return []
    return [
        f"--method {method} {does}, but those of --task {','.join(numbers)} are numbers (regression): leave one of the two "
        "out"
        for method, does in needing_classes().items()
        if method in grid.methods
    ]


def _weightless(weight: str | None) -> bool:
    try:
        return weight is not None and float(weight) == 0
    except ValueError:  # no number: fairseq-train says so
        return False
