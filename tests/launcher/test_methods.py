import pytest

from launcher.methods import check_methods, fitting

OVERRIDES = {"--clip-norm": "1.0", "--hsk-keep": "1l", "--inter-weight": "100", "--lad-frozen": True, "--bf16": True,
             "--temperature": "4"}  # fmt: skip


@pytest.mark.parametrize(
    ("criterion", "removed"),
    [
        ("kd", {"--hsk-keep", "--inter-weight", "--lad-frozen"}),
        ("hsk", {"--lad-frozen"}),
        ("lad", {"--hsk-keep"}),
    ],
)
def test_a_criterion_gets_its_own_flags_and_those_of_no_criterion(criterion, removed, methods):
    assert fitting(OVERRIDES, criterion, methods).keys() == OVERRIDES.keys() - removed


def test_none_is_kd_without_a_teacher(methods):
    assert next(iter(methods)) == "none"
    assert (methods["none"].needs_teacher, methods["kd"].needs_teacher) == (False, True)
    assert methods["none"].flags == methods["kd"].flags


def test_an_unknown_method_is_refused(methods):
    check_methods(["none", "sda"], methods)
    with pytest.raises(
        ValueError, match="--method sdb is not a method: choose among none, alp_kd, att_kl_hid"
    ):
        check_methods(["none", "sdb"], methods)
