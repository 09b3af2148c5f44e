import pytest

from launcher.methods import check_methods, find_methods, fitting

FLAGS = ("--clip-norm", "1.0", "--hsk-keep", "1l_10t_0.1h", "--inter-weight=100", "--lad-frozen", "--bf16")


@pytest.mark.parametrize(
    ("criterion", "expected"),
    [
        ("kd", ("--clip-norm", "1.0", "--bf16")),
        ("hsk", ("--clip-norm", "1.0", "--hsk-keep", "1l_10t_0.1h", "--inter-weight=100", "--bf16")),
        ("lad", ("--clip-norm", "1.0", "--inter-weight=100", "--lad-frozen", "--bf16")),
    ],
)
def test_a_criterion_gets_its_own_flags_and_those_of_no_criterion(criterion, expected):
    assert fitting(FLAGS, criterion, find_methods()) == expected


def test_flags_that_all_have_stay():
    flags = ("--hard-weight", "0.3", "--temperature", "4")
    methods = find_methods()
    assert {fitting(flags, criterion, methods) for criterion in methods} == {flags}


def test_none_is_kd_without_a_teacher():
    methods = find_methods()
    assert next(iter(methods)) == "none"
    assert not methods["none"].needs_teacher
    assert methods["kd"].needs_teacher
    assert methods["none"].flags == methods["kd"].flags


def test_a_name_that_is_no_method_is_refused():
    check_methods(["none", "sda"], find_methods())
    with pytest.raises(
        ValueError, match="--method sdb is not a method: choose among none, alp_kd, att_kl_hid"
    ):
        check_methods(["none", "sdb"], find_methods())
