"""Which flags are a method's own, and what they are worth where its terms have no weight."""

from collections.abc import Collection
from dataclasses import fields

from fairseq.criterions import CRITERION_DATACLASS_REGISTRY

from .config import DistillationConfig, IntermediateConfig

SHARED = frozenset(each.name for each in fields(IntermediateConfig))


def of_no_use(cfg: DistillationConfig, elsewhere: Collection[str]) -> list[str]:
    """A sentence that names the method's own flags that are not at their defaults; none where there are none.

    --mapping may be given: grids of several methods give it to all.

    elsewhere  fields about something else than the method's terms
    """
    own = (each for each in fields(CRITERION_DATACLASS_REGISTRY[cfg._name]) if each.name not in SHARED)
    flags = [
        "--" + each.name.replace("_", "-")
        for each in own
        # What stands for a flag of fairseq's is no flag of the method's.
        if not str(each.default).startswith("${")
        and each.name not in elsewhere
        # Choices come as text or as members of an enumeration.
        and str(getattr(cfg, each.name)) != str(each.default)
    ]
    if not flags:
        return []
    verb, them = ("are", "them") if flags[1:] else ("is", "it")
    return [
        f"{', '.join(flags)} {verb} about terms that --inter-weight 0 leaves out: leave {them} out, too, or raise the "
        "weight."
    ]
