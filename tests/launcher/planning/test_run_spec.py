from dataclasses import dataclass, replace

import pytest

from launcher.planning.run_spec import RunSpec


def test_a_name_is_readable_and_never_changes(spec):
    assert spec.name == "MRPC-att_kl_learn-0_1_2-0.0_1.4-one-seed1-5dd95252"


@pytest.mark.parametrize(
    "change",
    [{"seed": 2}, {"lr": 2e-5}, {"teacher": "other"}, {"flags": ("--bf16",)}, {"after": "x"}, {"warmup": 0}],
    ids=str,
)
def test_whatever_decides_the_result_decides_the_name(spec, change):
    assert replace(spec, **change).name != spec.name


def test_a_field_added_later_renames_no_old_run(spec):
    @dataclass(frozen=True)
    class Later(RunSpec):
        cache: str = ""

    values = {name: getattr(spec, name) for name in spec.__dataclass_fields__}
    assert Later(**values).name == spec.name
    assert Later(**values, cache="disk").name != spec.name


def test_a_cell_is_what_its_seeds_share(spec):
    assert spec.cell == replace(spec, seed=2).cell == ("MRPC", "att_kl_learn", "0,1,2", "0:0,1:4", "one")
    assert replace(spec, stage="second").cell[-1] == "two"
