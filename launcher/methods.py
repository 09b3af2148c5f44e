"""Which methods there are: `none`, and every criterion of the plugin."""

from .criterion_flags import criterion_flags

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


def criterion_of(method: str) -> str:
    """--criterion of a method: its own, but kd for labels alone, whose other weights are 0."""
    return LOGITS if method == NO_TEACHER else method


def known_methods() -> list[str]:
    """All names `--method` takes."""
    return [NO_TEACHER, *sorted(criterion_flags())]


def default_mapping(method: str) -> str:
    """The mapping that `--criterion METHOD` takes when none is given; empty where it has none."""
    return criterion_flags()[method].get("--mapping") or ""


def only_pairs(method: str) -> bool:
    """Whether a method compares pairs of layers, and no learned mixture of them."""
    return method in _PAIRING or method.startswith(_ATTENTION)
