"""constraints.txt pins each dependency of pyproject.toml, except torch, whose build users choose."""

import tomllib

from packaging.requirements import Requirement

from tests.tiny import ROOT


def requirements(lines: list[str]) -> list[Requirement]:
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


def test_each_dependency_is_pinned_within_its_range():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    groups = [*project["project"]["optional-dependencies"].values(), *project["dependency-groups"].values()]
    wanted = requirements([*project["project"]["dependencies"], *sum(groups, [])])
    pins = requirements((ROOT / "constraints.txt").read_text().splitlines())

    for dependency in wanted:
        versions = [each.version for pin in pins if pin.name == dependency.name for each in pin.specifier]
        assert versions or dependency.name == "torch", f"{dependency.name}: call update_constraints.sh"
        assert all(version in dependency.specifier for version in versions), dependency.name


def test_no_build_of_torch_is_pinned():
    names = {pin.name for pin in requirements((ROOT / "constraints.txt").read_text().splitlines())}
    assert not [name for name in names if name.startswith(("torch", "nvidia", "cuda", "triton"))]
