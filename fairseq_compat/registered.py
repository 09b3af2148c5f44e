"""What is registered with fairseq, by section of its configuration, and names near to one that is not."""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches

# Below this difflib's ratio two names are different words, not one mistyped.
ALIKE = 0.75


def classes(section: str) -> Mapping[str, type]:
    """Name -> class of task, model, criterion, optimizer, ...; empty for sections of another kind."""
    from fairseq.models import ARCH_MODEL_REGISTRY
    from fairseq.registry import REGISTRIES
    from fairseq.tasks import TASK_REGISTRY

    if section in REGISTRIES:
        return REGISTRIES[section]["registry"]
    return {"task": TASK_REGISTRY, "model": ARCH_MODEL_REGISTRY}.get(section, {})


def options(section: str, name: str) -> type | None:
    """The dataclass that says which options a registered name has; None for those of before dataclasses."""
    return getattr(classes(section).get(name), "__dataclass", None)


def plugins(section: str) -> list[str]:
    """The names of `section` that a `--user-dir` has brought."""
    return sorted(name for name, each in classes(section).items() if _package(each) != "fairseq")


def advice(section: str, name: str) -> str:
    """What to give in the place of a name that is not registered."""
    near, own = nearest(name, classes(section)), plugins(section)
    if not own:
        here = near or _listed(classes(section))
        return f"no plugin is loaded that has it: give the plugin's folder as the user dir, or {here}"
    if near:
        return f"give {near}"
    packages = {_package(classes(section)[each]) for each in own}
    return f"{_listed(packages)} has {_listed(own)}"


def nearest(word: str, names: Iterable[str]) -> str:
    """The name of which `word` may be a misspelling; empty where there is none."""
    return next(iter(get_close_matches(word, names, n=1, cutoff=ALIKE)), "")


def _package(each: type) -> str:
    return each.__module__.partition(".")[0]


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))
