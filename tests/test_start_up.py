"""Task, criterion, transfer modules and teachers have no back-pointers: each knows only what it is given."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from fairseq_kd.criterions.distillation import DistillationCriterion

PACKAGE = Path(__file__).parents[1] / "fairseq_kd"


def trees(folder: str) -> Iterator[tuple[Path, ast.Module]]:
    for path in sorted((PACKAGE / folder).rglob("*.py")):
        yield path, ast.parse(path.read_text("utf-8"))


def attributes_of(tree: ast.AST, *owners: str) -> set[str]:
    """Return the attributes that are read or written of these expressions."""
    return {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) in owners
    }


def imported(path: Path, tree: ast.AST) -> set[str]:
    """Return the top-level parts of the package that a file imports, such as `criterions`."""
    package = path.relative_to(PACKAGE.parent).with_suffix("").parts[:-1]
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = package[: len(package) - node.level + 1]
            target = (*base, *(node.module or "").split("."))
            found |= {target[1]} if len(target) > 1 and target[1] else {name.name for name in node.names}
    return found


def test_criterions_read_the_context_and_nothing_else_of_the_task():
    read = set().union(*(attributes_of(tree, "task", "self.task") for _, tree in trees("criterions")))
    assert read == {"context"}


def test_transfer_modules_know_neither_task_nor_criterion():
    for path, tree in trees("criterions/transfer"):
        names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        assert not names & {"task", "criterion"}, path
        imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
        assert not [node.module for node in imports if node.level == 2], path  # of the criterions


@pytest.mark.parametrize(
    ("folder", "forbidden"),
    [
        ("teachers", {"tasks", "criterions"}),
        ("models", {"tasks", "criterions", "teachers", "objectives"}),
        ("objectives", {"tasks", "criterions", "teachers", "models"}),
        ("criterions", {"tasks"}),
    ],
)
def test_imports_go_one_way(folder, forbidden):
    for path, tree in trees(folder):
        assert not imported(path, tree) & forbidden, path


def test_the_task_uses_only_the_documented_members_of_a_criterion():
    used = set().union(*(attributes_of(tree, "criterion", "self.criterion") for _, tree in trees("tasks")))
    documented = {line.split()[0] for line in DistillationCriterion.__doc__.splitlines() if line.strip()}
    assert len(used) > 5
    assert used <= documented
    assert all(hasattr(DistillationCriterion, name) for name in used - {"errors", "stages", "unused"})
