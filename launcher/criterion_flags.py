"""Which of fairseq-train's flags are those of a criterion.

Read from the criterions' source, so that the launcher starts without torch, and a new criterion needs no entry here.
"""

import ast
import functools
from collections.abc import Collection, Sequence
from pathlib import Path

from .flags import grouped
from .places import PLUGIN

# Weights of labels and logits, and what belongs to the logits.
WEIGHTS = frozenset(("--hard-weight", "--soft-weight", "--temperature"))


@functools.cache
def criterion_flags(plugin: Path = PLUGIN) -> dict[str, dict[str, str | None]]:
    """Of each criterion all flags, those that it shares with others among them, with a default that is a plain text."""
    own: dict[str, dict[str, str | None]] = {}
    bases: dict[str, list[str]] = {}
    configs: dict[str, str] = {}
    for source in sorted((plugin / "criterions").glob("*.py")):
        for node in ast.parse(source.read_text("utf-8")).body:
            if isinstance(node, ast.ClassDef):
                own[node.name] = _flags(node)
                bases[node.name] = [base.id for base in node.bases if isinstance(base, ast.Name)]
                configs |= registered(node)

    def flags(config: str) -> dict[str, str | None]:
        inherited = [flags(base) for base in reversed(bases.get(config, []))]
        return {name: text for level in [*inherited, own.get(config, {})] for name, text in level.items()}

    return {criterion: flags(config) for criterion, config in configs.items()}


def registered(criterion: ast.ClassDef) -> dict[str, str]:
    """Its name and that of its config, from @register_criterion("NAME", dataclass=CONFIG)."""
    return {
        call.args[0].value: keyword.value.id
        for call in criterion.decorator_list
        if isinstance(call, ast.Call) and getattr(call.func, "id", None) == "register_criterion"
        for keyword in call.keywords
        if keyword.arg == "dataclass"
    }


def fitting(flags: Sequence[str], criterion: str) -> tuple[str, ...]:
    """The flags without those, and their values, that are another criterion's alone."""
    known = criterion_flags()
    others = set().union(*known.values()) - known[criterion].keys()
    return tuple(word for name, words in grouped(flags) if name not in others for word in words)


def without_weights(flags: Sequence[str]) -> tuple[str, ...]:
    """Those of a run whose stage sets the weights itself, so that the user's come to nothing; see `command`."""
    return tuple(word for name, words in grouped(flags) if name not in WEIGHTS for word in words)


def check_fitting(flags: Sequence[str], criterions: Collection[str]) -> None:
    """ValueError names a flag that is some criterion's, but of none of these."""
    known = criterion_flags()
    for name, _ in grouped(flags):
        having = sorted(criterion for criterion, own in known.items() if name in own)
        if having and not set(having) & set(criterions):
            raise ValueError(
                f"the flags after -- name {name}, which only {', '.join(having)} {'have' if having[1:] else 'has'}: "
                "leave it out, or take such a method"
            )


def _flags(config: ast.ClassDef) -> dict[str, str | None]:
    """One for each field, but for what a config takes from elsewhere: II("...")."""
    fields = [node for node in config.body if isinstance(node, ast.AnnAssign)]
    return {
        "--" + field.target.id.replace("_", "-"): _default(field.value)
        for field in fields
        if isinstance(field.target, ast.Name)
        and isinstance(field.value, ast.Call)
        and getattr(field.value.func, "id", None) == "field"
    }


def _default(field: ast.Call) -> str | None:
    values = [keyword.value for keyword in field.keywords if keyword.arg == "default"]
    texts = [node.value for node in values if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    return texts[0] if texts else None
