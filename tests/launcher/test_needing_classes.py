"""Methods that take labels of classes, as their criterions say it."""

from dataclasses import replace

import pytest

from launcher.needing_classes import needing_classes, without_classes
from launcher.plan import Grid

GRID = Grid(("RTE", "STS-B"), ("kd", "crd"), ("0,1,2",), ("skip",), ("one",), (1,), 1, 1)


def test_they_are_those_of_the_registered_criterions():
    from fairseq.criterions import CRITERION_REGISTRY

    import fairseq_kd  # noqa: F401
    from fairseq_kd.criterions.distillation import DistillationCriterion

    ours = {
        name: each for name, each in CRITERION_REGISTRY.items() if issubclass(each, DistillationCriterion)
    }
    assert needing_classes() == {
        name: each.needs_classes for name, each in ours.items() if each.needs_classes
    }
    assert "crd" in needing_classes()


@pytest.mark.parametrize(
    "changes",
    [
        {"tasks": ("RTE", "MNLI")},
        {"methods": ("kd", "none")},
        {"flags": ("--inter-weight", "0.0")},
    ],
)
def test_where_no_terms_meet_numbers_nothing_is_said(changes):
    assert without_classes(replace(GRID, **changes)) == []


@pytest.mark.parametrize("flags", [(), ("--inter-weight", "0.5"), ("--inter-weight", "x")])
def test_each_method_is_said_once(flags):
    [sentence] = without_classes(replace(GRID, flags=flags))
    assert sentence.startswith(
        "--method crd contrasts sentences of different labels, but those of --task STS-B"
    )
