"""Which methods there are: `none`, and every criterion of the plugin."""

import re
from pathlib import Path

from .places import PLUGIN

# A student fine-tuned on the labels alone, the least a method has to beat.
NO_TEACHER = "none"

# The criterion of labels and logits alone, and of second stages.
LOGITS = "kd"

# These learn from the labels and from themselves.
WITHOUT_TEACHER = frozenset({NO_TEACHER, "sda"})

# These compare logits only: they pair no layers and have no first stage.
LOGITS_ONLY = WITHOUT_TEACHER | {LOGITS}

# These compare all states at once, whatever the mapping.
ALL_STATES = frozenset({"alp_kd", "crd"})

# Names that begin so compare attention or relations, of which there is no learned mixture; these other
# methods pair hidden states one by one.
_ATTENTION = ("att_", "minilm", "pearson")
_PAIRING = frozenset({"hsk", "lad", "pkd"})

# What `IntermediateConfig` says, unless a criterion's own config says something else.
_USUAL_MAPPING = "skip"
_OWN_MAPPING = re.compile(r'^    mapping: str = field\(\s*default="([^"]+)"', re.MULTILINE)

_REGISTERED = re.compile(r'^@register_criterion\(\s*"(\w+)"', re.MULTILINE)


def known_methods(plugin: Path = PLUGIN) -> list[str]:
    """All names `--method` takes. Read from the criterions' source, so that a new one needs no entry here."""
    sources = sorted((plugin / "criterions").glob("*.py"))
    registered = [name for source in sources for name in _REGISTERED.findall(source.read_text("utf-8"))]
    return [NO_TEACHER, *sorted(registered)]


def default_mapping(method: str, plugin: Path = PLUGIN) -> str:
    """The mapping that `--criterion METHOD` takes when none is given, read from its source as well, or its flags'."""
    for source in (plugin / "criterions" / f"{method}.py", plugin / "criterions" / f"{method}_flags.py"):
        found = _OWN_MAPPING.search(source.read_text("utf-8")) if source.is_file() else None
        if found:
            return found[1]
    return _USUAL_MAPPING


def only_pairs(method: str) -> bool:
    """Whether a method compares pairs of layers, and no learned mixture of them."""
    return method in _PAIRING or method.startswith(_ATTENTION)
