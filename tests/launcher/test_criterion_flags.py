from dataclasses import fields

import pytest

from launcher.criterion_flags import check_fitting, criterion_flags, fitting
from launcher.methods import known_methods

FLAGS = ("--clip-norm", "1.0", "--hsk-keep", "1l_10t_0.1h", "--inter-weight=100", "--lad-frozen", "--bf16")


def test_they_are_those_of_the_registered_criterions():
    from fairseq.criterions import CRITERION_DATACLASS_REGISTRY

    import fairseq_kd  # noqa: F401

    found = criterion_flags()
    assert set(found) == set(known_methods()) - {"none"}
    for name, flags in found.items():
        config = CRITERION_DATACLASS_REGISTRY[name]
        # What is interpolated from other groups of the config is no flag; neither is fairseq's own _name.
        expected = {
            "--" + field.name.replace("_", "-")
            for field in fields(config)
            if field.name != "_name" and not str(field.default).startswith("${")
        }
        assert flags.keys() == expected, name


@pytest.mark.parametrize(
    ("criterion", "expected"),
    [
        ("kd", ("--clip-norm", "1.0", "--bf16")),
        ("hsk", ("--clip-norm", "1.0", "--hsk-keep", "1l_10t_0.1h", "--inter-weight=100", "--bf16")),
        ("lad", ("--clip-norm", "1.0", "--inter-weight=100", "--lad-frozen", "--bf16")),
    ],
)
def test_a_criterion_gets_its_own_flags_and_those_of_no_criterion(criterion, expected):
    assert fitting(FLAGS, criterion) == expected


def test_flags_that_all_have_stay():
    flags = ("--hard-weight", "0.3", "--temperature", "4")
    assert {fitting(flags, criterion) for criterion in criterion_flags()} == {flags}


def test_a_flag_that_no_criterion_of_the_grid_has_is_refused_and_says_whose_it_is():
    check_fitting(FLAGS, {"kd", "hsk", "lad"})
    with pytest.raises(
        ValueError, match="name --hsk-keep, which only hsk has: leave it out, or take such a m"
    ):
        check_fitting(FLAGS, {"kd", "lad"})
    with pytest.raises(ValueError, match="--attention-clamp, which only att_kl_hidden_mse, att_kl_learn"):
        check_fitting(("--attention-clamp", "1e-7"), {"kd"})
